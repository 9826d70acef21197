"""Job files for clusters: an sbatch script or a JobSet that start a run and start it again.

    slurm   srun starts `pretrain run` once for each rank (place.py reads Slurm's variables).
            Before the limit the batch shell gets SIGTERM and passes it on; code 75 (saved) and 69,
            and the loss of a node, put the job back into the queue
    k8s     a JobSet of one indexed Job: a pod a host with `pretrain launch`, a headless service by
            whose names they find host 0, one volume; any failed pod starts all again. SIGTERM
            saves, as everywhere; codes that would come again, and the limit, end the JobSet

Words of users stand in one place each, quoted: by shlex in the script, as JSON (which is YAML) in
the other. What would be a directive of Slurm or a name of Kubernetes is held to its letters.
"""

import argparse
import json
import re
import shlex
from pathlib import Path
from typing import Any

from pretrain.errors import UsageError
from pretrain.launch.outcome import FINAL
from pretrain.recipe import Recipe

_AGAIN = (69, 75)  # RankError, Stopped
_STOP_SECONDS = 300  # for a last checkpoint
_RESTARTS = 100


def render(given: argparse.Namespace, loaded: Recipe) -> str:
    """The job file that the options ask for."""
    for name in ("hosts", "minutes", "cpus", "memory", "port", "workers"):
        if getattr(given, name) < 1:
            raise UsageError(f"--{name} is {getattr(given, name)}; must be at least 1")
    if given.ranks is None or given.ranks < 1:
        raise UsageError("--ranks must be given with --render, 1 or more: the ranks of each host")
    loaded.train.layout.sizes(given.ranks * given.hosts)
    words = [str(given.recipe), *given.override, "--runs", str(given.runs)]
    words += ["--workers", str(given.workers)] + (["--quiet"] if given.quiet else [])
    if any("\0" in word for word in words):
        raise UsageError("a word of the command line holds a zero byte; must be text")
    folder = str((given.folder or Path()).absolute())
    return {"slurm": slurm, "k8s": k8s}[given.render](given, loaded.name, folder, words)


def slurm(given: argparse.Namespace, name: str, folder: str, words: list[str]) -> str:
    """The text of an sbatch script."""
    n = given.hosts * given.ranks
    line = shlex.join(["pretrain", given.stage, *words])
    again = " || ".join(f'[ "$code" -eq {code} ]' for code in _AGAIN)
    return f"""#!/bin/bash
#SBATCH --job-name={_letters(name, 60)}
#SBATCH --nodes={given.hosts}
#SBATCH --ntasks-per-node={given.ranks}
#SBATCH --gpus-per-node={given.ranks}
#SBATCH --cpus-per-task={given.cpus}
#SBATCH --mem={given.memory}G
#SBATCH --time={given.minutes}
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@{_STOP_SECONDS}
# Submit with sbatch from anywhere. {n} ranks; stop with: scancel --batch --signal=TERM JOB

cd -- {shlex.quote(folder)} || exit 64
stopped= job=
trap 'stopped=1; [ -n "$job" ] && kill -TERM "$job" 2>/dev/null' TERM USR1
srun --kill-on-bad-exit=0 --wait=60 --distribution=block {line} &
job=$!
[ -n "$stopped" ] && kill -TERM "$job" 2>/dev/null  # asked for before there was a job
wait "$job"; code=$?
while [ -n "$stopped" ] && kill -0 "$job" 2>/dev/null; do wait "$job"; code=$?; done
if {again} || [ "$code" -gt 128 ]; then
    [ "${{SLURM_RESTART_COUNT:-0}}" -lt {_RESTARTS} ] && scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


def k8s(given: argparse.Namespace, name: str, folder: str, words: list[str]) -> str:
    """The text of a JobSet, for `kubectl create`."""
    text = json.dumps(jobset(given, name, folder, words), indent=2, ensure_ascii=False)
    # YAML knows no pairs of surrogates, and takes some characters for ends of lines.
    plain = r"[^\n\x20-\x7e\U00010000-\U0010ffff]"
    text = re.sub(plain, lambda found: f"\\u{ord(found[0]):04x}", text)
    return f"# JSON, which is YAML: kubectl create -f FILE\n{text}\n"


def jobset(given: argparse.Namespace, name: str, folder: str, words: list[str]) -> dict[str, Any]:
    """A JobSet (jobset.x-k8s.io/v1alpha2) that runs `pretrain launch` in each pod."""
    own = _letters(name, 40)
    command = ["pretrain", "launch", *words, "--stage", given.stage, "--ranks", str(given.ranks)]
    command += ["--hosts", str(given.hosts), "--port", str(given.port)]
    # Kubernetes replaces $(NAME) in a command, and $$ by $.
    command = [word.replace("$", "$$") for word in command]
    command += ["--host", "$(JOB_COMPLETION_INDEX)", "--address", f"{own}-ranks-0-0.{own}"]
    limits = {
        "nvidia.com/gpu": given.ranks,
        "cpu": given.cpus * given.ranks,
        "memory": f"{given.memory}Gi",
    }
    container = {
        "name": "ranks",
        "image": given.image,
        "command": command,
        "workingDir": folder,
        "ports": [{"containerPort": given.port}],
        "resources": {"limits": limits},
        "volumeMounts": [
            {"name": "files", "mountPath": folder},
            {"name": "memory", "mountPath": "/dev/shm"},
        ],
    }
    pod = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": _STOP_SECONDS,
        "containers": [container],
        "volumes": [
            {"name": "files", "persistentVolumeClaim": {"claimName": _letters(given.claim, 60)}},
            {"name": "memory", "emptyDir": {"medium": "Memory"}},
        ],
    }
    final = [code for code in FINAL if code not in _AGAIN]
    on_exit = {"containerName": "ranks", "operator": "In", "values": sorted(final)}
    job = {
        "parallelism": given.hosts,
        "completions": given.hosts,
        "completionMode": "Indexed",
        "backoffLimit": 0,
        "activeDeadlineSeconds": 60 * given.minutes,
        "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": on_exit}]},
        "template": {"spec": pod},
    }
    reasons = ["PodFailurePolicy", "DeadlineExceeded"]
    final_rule = {"action": "FailJobSet", "onJobFailureReasons": reasons}
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {"name": own},
        "spec": {
            "network": {"enableDNSHostnames": True, "subdomain": own},
            "failurePolicy": {"maxRestarts": _RESTARTS, "rules": [final_rule]},
            "replicatedJobs": [{"name": "ranks", "replicas": 1, "template": {"spec": job}}],
        },
    }


def _letters(name: str, most: int) -> str:
    """A name of a job, a claim or a host: small letters, digits and dashes, a letter first."""
    kept = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return (kept if kept[:1].isalpha() else f"run-{kept}")[:most].strip("-")
