"""Who runs trainings that do not need each other: this machine, as many at once as it takes, or a cluster.

A job is a process's work. It resumes by itself: one that failed or was killed is simply begun again.
"""

import json
import os
import queue
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import torch

from resdex_tasks.utils.errors import UserError

LAUNCHERS = ("local", "submitit")
POLL = 1.0
"""s between two looks at a cluster's jobs."""


@dataclass(frozen=True)
class Job:
    """What a process does."""

    name: str
    target: str
    """What it runs: `train` (one training, resumed where there is one) or `pipeline`."""
    arguments: Tuple[str, ...]
    """key=value of the target's command line."""
    log: str
    """File that gets what it prints."""

    def check(self, status: int) -> bool:
        """Whether a process that ended so is done; False: it was killed or failed, and may be begun again.

        Raises:
            UserError: bad input; it would fail again.
        """
        if status == 2:
            lines = Path(self.log).read_text(encoding="utf-8", errors="replace").splitlines()
            errors = [line[7:] for line in lines if line.startswith("error: ")]
            raise UserError(f"{self.name}: {errors[-1]}" if errors else f"{self.name} failed: see {self.log}")
        return status == 0


class LocalLauncher:
    """Processes on this machine.

    Args:
        at_once: how many; None: one a CUDA device, else one a core.
        retries: how often a job that was killed or failed is begun again.
    """

    def __init__(self, at_once: Optional[int], retries: int) -> None:
        self._gpus = torch.cuda.device_count()
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.at_once = at_once or self._gpus or cores
        self.threads = None if self._gpus else max(1, cores // self.at_once)
        """Of each job; None: as many as it likes."""
        self.retries = retries
        self._running: List[subprocess.Popen[str]] = []
        self._stopping = False

    def takes(self, count: int) -> bool:
        """Whether so many trainings are for it; else the pipeline's own process does them, one after the other."""
        return self.at_once > 1 and count > 1

    def run(self, jobs: Sequence[Job]) -> None:
        """Do all.

        Raises:
            UserError: one cannot be done. The others stop after their iteration, and resume the next time.
        """
        self._stopping = False
        slots: queue.Queue[int] = queue.Queue()
        at_once = min(self.at_once, len(jobs))
        for slot in range(at_once):
            slots.put(slot)
        print(f"{len(jobs)} jobs, {at_once} at once; they print to {Path(jobs[0].log).parent}/", flush=True)
        with ThreadPoolExecutor(at_once) as pool:
            futures = [pool.submit(self._do, job, slots) for job in jobs]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                self._stopping = True
                for future in futures:
                    future.cancel()
                for process in list(self._running):
                    _hang_up(process)
                raise

    def _do(self, job: Job, slots: "queue.Queue[int]") -> None:
        slot = slots.get()
        try:
            for attempt in range(self.retries + 1):
                if self._stopping:
                    return
                print(f"{job.name}: {'begun' if not attempt else 'begun again'}", flush=True)
                if job.check(self._process(job, slot)):
                    print(f"{job.name}: done", flush=True)
                    return
        finally:
            slots.put(slot)
        if not self._stopping:
            raise UserError(f"{job.name} was killed or failed {self.retries + 1} times: see {job.log}")

    def _process(self, job: Job, slot: int) -> int:
        """Run a job in a process of its own; returns its exit status."""
        Path(job.log).parent.mkdir(parents=True, exist_ok=True)
        environment = dict(os.environ)
        if self.threads is not None:
            environment["OMP_NUM_THREADS"] = str(self.threads)
        if self._gpus > 1:
            visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(self._gpus)))).split(",")
            environment["CUDA_VISIBLE_DEVICES"] = visible[slot % len(visible)]
        with open(job.log, "a", encoding="utf-8") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "runners.pipeline.job"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                text=True,
                start_new_session=True,  # Ctrl-C is for the pipeline, which hands it on
            )
            self._running.append(process)
            try:
                assert process.stdin is not None
                process.stdin.write(json.dumps(asdict(job)) + "\n")
                process.stdin.flush()
            except BrokenPipeError:
                pass  # it has died already
            try:
                return process.wait()
            finally:
                self._running.remove(process)
                _hang_up(process)


def _hang_up(process: "subprocess.Popen[str]") -> None:
    """A job that is alone stops after its iteration (`job.py`): so does one whose pipeline was killed."""
    try:
        if process.stdin is not None:
            process.stdin.close()
    except BrokenPipeError:
        pass


class SubmittedJob:
    """A job as submitit hands it to a node; where its time is up, it is submitted again, and resumes."""

    def __init__(self, job: Job, folder: str) -> None:
        self.job, self.folder = job, folder

    def __call__(self) -> int:
        from runners.pipeline.job import work

        os.chdir(self.folder)
        with open(self.job.log, "a", encoding="utf-8") as log:
            return work(self.job, log)

    def checkpoint(self) -> Any:
        import submitit

        return submitit.helpers.DelayedSubmission(self)


class SubmititLauncher:
    """Slurm's jobs, or submitit's own processes (`submitit.cluster=local`).

    Args:
        folder: of submitit's own files.
        parameters: `cluster`, and what `submitit.AutoExecutor.update_parameters` takes, such as timeout_min.

    Raises:
        UserError: submitit is not installed, finds no cluster or refuses a parameter.
    """

    threads: Optional[int] = None

    def __init__(self, folder: Path, parameters: Mapping[str, Any], retries: int) -> None:
        try:
            import submitit
        except ImportError:
            raise UserError("launcher=submitit needs the package submitit: pip install 'resdex[submitit]'") from None
        self._uncompleted = submitit.core.utils.UncompletedJobError
        own = {key: value for key, value in parameters.items() if key != "cluster"}
        try:
            self._executor = submitit.AutoExecutor(folder=str(folder), cluster=parameters.get("cluster"))
            self._executor.update_parameters(**own)
        except Exception as error:  # its own and its plugins'
            raise UserError(f"submitit: {str(error).splitlines()[0]}") from error
        self.retries = retries

    def takes(self, count: int) -> bool:
        return True

    def run(self, jobs: Sequence[Job]) -> None:
        """See `LocalLauncher.run`; here the others are cancelled."""
        left = {job.name: self.retries for job in jobs}
        Path(jobs[0].log).parent.mkdir(parents=True, exist_ok=True)
        running = {job.name: (job, self._submit(job)) for job in jobs}
        try:
            while running:
                for name, (job, submitted) in list(running.items()):
                    if not submitted.done():
                        continue
                    if self._is_done(job, submitted):
                        print(f"{name}: done", flush=True)
                        del running[name]
                    elif left[name]:
                        left[name] -= 1
                        running[name] = (job, self._submit(job))
                    else:
                        raise UserError(f"{name} was killed or failed {self.retries + 1} times: see {job.log}")
                time.sleep(POLL)
        finally:
            for _, submitted in running.values():
                submitted.cancel()

    def _submit(self, job: Job) -> Any:
        submitted = self._executor.submit(SubmittedJob(job, os.getcwd()))
        print(f"{job.name}: submitted as job {submitted.job_id}", flush=True)
        return submitted

    def _is_done(self, job: Job, submitted: Any) -> bool:
        try:
            return job.check(submitted.result())
        except self._uncompleted:  # killed, or it raised
            return False


def make_launcher(name: str, at_once: Optional[int], parameters: Dict[str, Any], retries: int, folder: Path) -> Any:
    """The launcher of this name: `takes`, `run`, and the `threads` of each job (None: all that it finds).

    Raises:
        UserError: it cannot work here.
    """
    if name == "submitit":
        return SubmititLauncher(folder, parameters, retries)
    return LocalLauncher(at_once, retries)
