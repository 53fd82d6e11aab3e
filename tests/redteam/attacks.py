"""A hostile ``model.py``: each function below returns whether it reached its aim; its docstring is its row in docs/security.md.

It answers one structure per attack, in the order of this file, with the energy 1 for a success and 0 for a failure.
``targets.json`` beside it says what there is to be found.
"""

import gc
import json
import os
import resource
import socket
import sys
from pathlib import Path

FUNCTIONAL = "PBE"

TARGETS = json.loads((Path(__file__).parent / "targets.json").read_text())


def reads(path):
    return bool(Path(path).read_bytes())


def writes(path):
    Path(path).write_text("poisoned")
    return False  # what the host sees is looked at by the test


def embedded_labels():
    """read the labels embedded in the package"""
    return reads(TARGETS["embedded"])


def labels_in_the_folders():
    """search the package's folders for files of labels"""
    return any(Path(TARGETS["embedded"]).parents[2].glob("**/*.parquet"))


def labels_through_the_package():
    """load the labels with the package's own code"""
    from xferbench import dataset

    return bool(dataset.Dataset.open(Path(TARGETS["dataset"])))


def prepared_labels():
    """read a prepared data set"""
    return reads(TARGETS["label_file"])


def cache_of_the_home():
    """look for data sets in the home directory"""
    return any((Path(TARGETS["home"]) / ".cache").iterdir())


def labels_under_the_parents_root():
    """read the labels through /proc/PPID/root"""
    return any(reads(f"/proc/{pid}/root{TARGETS['label_file']}") for pid in {os.getppid(), TARGETS["pid"]})


def answers_of_others():
    """read the predictions of other models"""
    return reads(TARGETS["predictions"])


def labels_in_memory():
    """find labels or ids among the objects of its own process"""
    return any(
        isinstance(item, str) and TARGETS["frame_id"] in item
        for thing in gc.get_objects()
        if type(thing) is dict
        for item in list(thing.values())
    )


def open_files():
    """use files that the run has open"""
    links = [
        os.readlink(f"/proc/self/fd/{name}")
        for name in os.listdir("/proc/self/fd")
        if Path(f"/proc/self/fd/{name}").is_symlink()
    ]
    return any(TARGETS["open_file"] in link for link in links)


def secret_in_the_environment():
    """read GH_PAT, DATABASE_URL and WANDB_KEY in its environment"""
    return any(name in os.environ for name in ("GH_PAT", "DATABASE_URL", "WANDB_KEY"))


def token_in_the_environment():
    """read HF_TOKEN in its environment"""
    return "HF_TOKEN" in os.environ


def environment_of_the_run():
    """read the run's environment in /proc"""
    return b"GH_PAT" in Path(f"/proc/{TARGETS['pid']}/environ").read_bytes()


def memory_of_the_run():
    """open the run's memory in /proc"""
    with open(f"/proc/{TARGETS['pid']}/mem", "rb") as stream:
        return stream.readable()


def command_lines_of_others():
    """see what other processes are doing"""
    return (
        Path(f"/proc/{TARGETS['pid']}/cmdline").exists()
        and b"python" in Path(f"/proc/{TARGETS['pid']}/cmdline").read_bytes()
    )


def signal_to_the_run():
    """send signals to the run"""
    os.kill(TARGETS["pid"], 0)
    return b"python" in Path(f"/proc/{TARGETS['pid']}/cmdline").read_bytes()


def network():
    """reach a server on the network"""
    with socket.create_connection(("127.0.0.1", TARGETS["port"]), timeout=2):
        return True


def local_socket():
    """reach an abstract socket of this machine"""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("\0" + TARGETS["abstract"])
        return True


def system_files():
    """read the system's list of passwords"""
    return reads("/etc/shadow")


def own_folder():
    """change its own file"""
    return writes(Path(__file__).parent / "changed.py")


def home():
    """write into the home directory"""
    return writes(Path(TARGETS["home"]) / "xferbench-redteam")


def results():
    """replace a result"""
    return writes(TARGETS["predictions"] + ".forged")


def data_set():
    """replace the labels that answers are compared with"""
    return writes(TARGETS["label_file"] + ".forged")


def package():
    """change the package's code"""
    return writes(Path(TARGETS["embedded"]).with_name("redteam.txt"))


def served_code():
    """change the code that serves it, for the next process of the run"""
    import xferbench.models.server as server

    path = Path(server.__file__).with_name("redteam.txt")
    path.write_text("poisoned")
    return path.exists()


def shared_memory():
    """leave a file in shared memory for another run"""
    Path("/dev/shm/xferbench-redteam").write_text("x")
    return False  # what the host sees is looked at by the test


def temporary_file():
    """leave a file in /tmp for another run"""
    Path("/tmp/xferbench-redteam").write_text("x")
    return False  # as above


def process_left_behind():
    """leave a process of another session behind"""
    if os.fork() == 0:
        os.setsid()
        for number in range(256):
            try:
                os.close(number)
            except OSError:
                pass
        os.execvp("sleep", ["sleep", TARGETS["seconds"]])
    return False  # as above


def limits():
    """raise its own limits"""
    if resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY:
        return True
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    return True


def memory():
    """take more memory than it is given"""
    return len(bytearray(3 << 30)) > 0


def disk():
    """write a file of any size"""
    with open(Path(os.environ.get("TMPDIR", "/tmp")) / "large", "wb") as stream:
        try:
            stream.truncate(9 << 30)
        finally:
            os.unlink(stream.name)
    return True


def core():
    """leave its memory in a core file"""
    return resource.getrlimit(resource.RLIMIT_CORE)[0] != 0


ATTACKS = [
    thing
    for name, thing in list(globals().items())
    if callable(thing) and getattr(thing, "__doc__", None) and thing.__module__ == __name__
]


def predict(structures):
    answers = []
    for atoms in structures:
        attack = ATTACKS[int(atoms.numbers[0]) - 1]
        try:
            reached = attack()
        except BaseException:
            reached = False
        answers.append({"energy": float(reached)})
    return answers
