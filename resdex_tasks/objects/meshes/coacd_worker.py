"""Decomposes one mesh with CoACD, in a process of its own: python coacd_worker.py IN.npz OUT.npz

CoACD is C++ that may take minutes or crash on an odd mesh. In its own process it can be stopped and cannot crash the
caller.
IN has vertices (V, 3), faces (F, 3) and the settings by name; OUT gets the vertices of the pieces as `0`, `1`, ...
"""

import sys


def main(source: str, target: str) -> None:
    sys.path.pop(0)  # this folder, whose modules must not stand in for others of their name
    import coacd
    import numpy as np

    with np.load(source, allow_pickle=False) as given:
        mesh = coacd.Mesh(given["vertices"], given["faces"])
        settings = {name: given[name].item() for name in given.files if name not in ("vertices", "faces")}
    coacd.set_log_level("error")
    pieces = coacd.run_coacd(mesh, **settings)
    np.savez(target, **{str(i): vertices for i, (vertices, _) in enumerate(pieces)})


if __name__ == "__main__":
    main(*sys.argv[1:])
