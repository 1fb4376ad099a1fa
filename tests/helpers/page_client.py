"""A client of the viewer's page without a browser: it speaks viser's protocol over the web socket."""

import uuid
from typing import Any, Dict, List

import msgspec
import viser
import zstandard
from websockets.sync.client import connect


class PageClient:
    """What a browser would know of the page on a port of this machine."""

    def __init__(self, port: int) -> None:
        protocol: Any = f"viser-v{viser.__version__}"
        self._socket = connect(f"ws://localhost:{port}", subprotocols=[protocol], max_size=None, proxy=None)
        self._uuids: Dict[str, str] = {}
        self.gui: Dict[str, Dict[str, Any]] = {}
        """Uuid -> properties of every element of the panel."""
        self.nodes: Dict[str, Dict[str, Any]] = {}
        """Name -> properties and pose of every node of the scene."""

        camera = {"wxyz": (1.0, 0.0, 0.0, 0.0), "position": (1.0, 1.0, 1.0), "look_at": (0.0, 0.0, 0.0)}
        picture = {"fov": 1.0, "near": 0.01, "far": 100.0, "image_width": 100, "image_height": 100}
        # who has not said where it looks from is heard by nobody
        self._send("ViewerCameraMessage", **camera, **picture, up_direction=(0.0, 0.0, 1.0))

    def close(self) -> None:
        self._socket.close()

    def read(self, seconds: float = 0.05) -> None:
        """Take what the server has sent, until it is silent for so long."""
        try:
            while True:
                self._take(self._socket.recv(timeout=seconds))
        except TimeoutError:
            return

    def _take(self, raw: Any) -> None:
        length = int.from_bytes(raw[8:16], "little")
        inner = msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(raw[16 : 16 + length]))
        for message in inner["messages"]:
            kind = message["type"]
            if kind == "GuiUpdateMessage":
                self.gui[message["uuid"]].update(message["updates"])
            elif kind.startswith("Gui") and "props" in message:
                self.gui[message["uuid"]] = {**message["props"], "value": message.get("value")}
                self._uuids[message["props"].get("label") or message["uuid"]] = message["uuid"]
            elif kind in ("SetPositionMessage", "SetOrientationMessage"):
                self.nodes.setdefault(message["name"], {}).update(message)
            elif kind == "SceneNodeUpdateMessage":
                self.nodes.setdefault(message["name"], {}).update(message["updates"])
            elif "props" in message:
                self.nodes.setdefault(message["name"], {}).update(message["props"])

    def element(self, label: str) -> Dict[str, Any]:
        """Properties and value of the element with a label."""
        return self.gui[self._uuids[label]]

    def texts(self) -> List[str]:
        """The HTML on the panel."""
        return [element["content"] for element in self.gui.values() if element.get("content")]

    @property
    def labels(self) -> List[str]:
        """Of all elements that have one."""
        return list(self._uuids)

    def set(self, label: str, value: Any) -> None:
        """Choose, check or click."""
        self._send("GuiUpdateMessage", uuid=self._uuids[label], updates={"value": value})

    def upload(self, label: str, name: str, content: bytes) -> None:
        """Hand in a file."""
        transfer = {"source_component_uuid": self._uuids[label], "transfer_uuid": uuid.uuid4().hex}
        about = {"filename": name, "mime_type": "", "part_count": 1, "size_bytes": len(content)}
        self._send("FileTransferStartUpload", **transfer, **about)
        self._send("FileTransferPart", **transfer, part_index=0, content=content)

    def _send(self, kind: str, **values: Any) -> None:
        self._socket.send(msgspec.msgpack.encode({"type": kind, **values}))
