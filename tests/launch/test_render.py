"""Job files say what was asked, whatever names hold: one is bash, one a JobSet by its form."""

import json
import os
import shlex
import subprocess
from dataclasses import replace

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.cli import parser
from pretrain.errors import RecipeError, UsageError
from pretrain.launch import render
from pretrain.recipe import load

LABEL = {"type": "string", "pattern": r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$"}
WHOLE = {"type": "integer", "minimum": 1}


REASONS = ["BackoffLimitExceeded", "DeadlineExceeded", "FailedIndexes", "PodFailurePolicy"]


def form(**properties):
    """An object with these keys, all of them, and no others."""
    return {
        "type": "object", "properties": properties, "required": [*properties],
        "additionalProperties": False,
    }  # fmt: skip


def several(item):
    return {"type": "array", "items": item, "minItems": 1}


TEXT = {"type": "string", "minLength": 1}
VOLUME = {
    "oneOf": [
        form(name=LABEL, persistentVolumeClaim=form(claimName=LABEL)),
        form(name=LABEL, emptyDir=form(medium={"const": "Memory"})),
    ]
}
CONTAINER = form(
    name=LABEL,
    image=TEXT,
    command=several({"type": "string"}),
    workingDir={"type": "string", "pattern": "^/"},
    ports=several(form(containerPort={"type": "integer", "minimum": 1, "maximum": 65535})),
    resources=form(
        limits=form(
            **{"nvidia.com/gpu": WHOLE},
            cpu=WHOLE,
            memory={"type": "string", "pattern": "^[0-9]+Gi$"},
        )
    ),
    volumeMounts=several(form(name=LABEL, mountPath={"type": "string", "pattern": "^/"})),
)
POD = form(
    restartPolicy={"enum": ["Never", "OnFailure"]},
    terminationGracePeriodSeconds=WHOLE,
    containers=several(CONTAINER),
    volumes=several(VOLUME),
)
CODES = form(
    containerName=LABEL,
    operator={"enum": ["In", "NotIn"]},
    values=several({"type": "integer", "minimum": 1, "maximum": 255}),
)
JOB = form(
    parallelism=WHOLE,
    completions=WHOLE,
    completionMode={"const": "Indexed"},
    backoffLimit={"type": "integer", "minimum": 0},
    activeDeadlineSeconds=WHOLE,
    podFailurePolicy=form(rules=several(form(action={"const": "FailJob"}, onExitCodes=CODES))),
    template=form(spec=POD),
)
# The part of JobSet v1alpha2 and batch/v1 Job that is used, from their API references.
_JOBSET = form(
    apiVersion={"const": "jobset.x-k8s.io/v1alpha2"},
    kind={"const": "JobSet"},
    metadata=form(name=LABEL),
    spec=form(
        network=form(enableDNSHostnames={"type": "boolean"}, subdomain=LABEL),
        failurePolicy=form(
            maxRestarts=WHOLE,
            rules=several(
                form(
                    action={"enum": ["FailJobSet", "RestartJobSet"]},
                    onJobFailureReasons=several({"enum": REASONS}),
                )
            ),
        ),
        replicatedJobs=several(form(name=LABEL, replicas=WHOLE, template=form(spec=JOB))),
    ),
)


JOBSET = jsonschema.Draft202012Validator(_JOBSET)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("r") / "some.toml"
    path.write_text('[collect.sources.a]\nkind = "jsonl"\npath = "x"\nlicense = "CC0-1.0"\n')
    return load(path)


def asked(kind, *words):
    return parser().parse_args(["launch", "some.toml", "--render", kind, "--ranks", "8", *words])


def test_a_script_is_what_was_asked(recipe):
    text = render.render(asked("slurm", "--hosts", "4", "--minutes", "90"), recipe)
    for line in ("--nodes=4", "--ntasks-per-node=8", "--time=90", "--requeue", "--mem=64G",
                 "--signal=B:TERM@300"):  # fmt: skip
        assert f"#SBATCH {line}\n" in text
    assert "srun --kill-on-bad-exit=0 --wait=60 --distribution=block pretrain run some.toml" in text


def bash(text, folder, code):
    """Run a script with commands of Slurm that write down their words. Returns what they got."""
    for name, then in (("srun", f"exit {code}"), ("scontrol", "exit 0")):
        path = folder / name
        path.write_text(f'#!/bin/bash\nprintf "%s\\0" {name} "$@" >> "$TOLD"\n{then}\n')
        path.chmod(0o755)
    (folder / "told").unlink(missing_ok=True)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "TOLD": str(folder / "told"),
                   "SLURM_JOB_ID": "17"}  # fmt: skip
    done = subprocess.run(["bash"], input=text, text=True, env=environment, check=False)
    return done.returncode, (folder / "told").read_bytes().decode().split("\0")[:-1]


@pytest.mark.parametrize(("code", "again"), [(0, 0), (69, 1), (75, 1), (78, 0), (1, 0), (137, 1)])
def test_what_is_worth_it_goes_back_into_the_queue(recipe, tmp_path, code, again):
    given = asked("slurm", "--folder", str(tmp_path))
    found, told = bash(render.render(given, recipe), tmp_path, code)
    assert found == code
    assert told.count("scontrol") == again
    assert told[-2:] == ["requeue", "17"] or not again


def test_a_signal_is_passed_on_and_waited_for(recipe, tmp_path):
    srun = tmp_path / "srun"
    srun.write_text(
        '#!/bin/bash\ntrap "sleep 0.3; echo saved >> told; exit 75" TERM\n'
        "touch began; while :; do sleep 0.05; done\n"
    )
    scontrol = tmp_path / "scontrol"
    scontrol.write_text('#!/bin/bash\necho "$@" >> told\n')
    for path in (srun, scontrol):
        path.chmod(0o755)
    script = tmp_path / "job.sh"
    script.write_text(render.render(asked("slurm", "--folder", str(tmp_path)), recipe))
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "17"}
    with subprocess.Popen(["bash", str(script)], env=environment) as job:
        while not (tmp_path / "began").exists():
            assert job.poll() is None
        job.terminate()
        assert job.wait() == 75
    assert (tmp_path / "told").read_text() == "saved\nrequeue 17\n"


NASTY = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30
) | st.sampled_from(["$(touch x)", "`id`", "a'b\"c", "x\n#SBATCH --uid=0", "-n", "$(HOME)", "a: b"])


@settings(max_examples=20)
@given(word=NASTY, name=NASTY, image=NASTY)
def test_no_word_is_read_as_anything_else(recipe, tmp_path_factory, word, name, image):
    folder = tmp_path_factory.mktemp("job")
    nasty = f"name={word}"
    text = render.slurm(asked("slurm"), name, str(folder), [f"./{word}", nasty])
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0
    head = [line for line in text.split("\n") if line.startswith("#SBATCH")]
    assert len([line for line in head if line.startswith("#SBATCH --job-name=")]) == 1
    inside = text[text.index("srun ") : text.rindex(" &\njob=")]
    assert shlex.split(inside)[-2:] == [f"./{word}", nasty]
    plain = asked("k8s")
    plain.image = image
    found = yaml.safe_load(render.k8s(plain, name, str(folder), [word, nasty]))
    JOBSET.validate(found)
    job = found["spec"]["replicatedJobs"][0]["template"]["spec"]
    container = job["template"]["spec"]["containers"][0]
    assert container["image"] == image
    assert [w.replace("$$", "$") for w in container["command"][2:4]] == [word, nasty]
    assert not any("$(" in w.replace("$$", "") for w in container["command"][:-4])


@pytest.mark.parametrize("word", ["$(touch x)", "a'b\"c", "x\n#SBATCH --uid=0", "`touch x`", "*"])
def test_bash_gives_words_on_as_they_are(recipe, tmp_path, word):
    text = render.slurm(asked("slurm"), word, str(tmp_path), [f"./{word}", word])
    assert bash(text, tmp_path, 0)[1][-2:] == [f"./{word}", word]
    assert not (tmp_path / "x").exists()


def test_a_jobset_starts_what_this_command_line_takes(recipe):
    found = json.loads(render.render(asked("k8s", "--hosts", "2"), recipe).partition("\n")[2])
    JOBSET.validate(found)
    job = found["spec"]["replicatedJobs"][0]["template"]["spec"]
    command = job["template"]["spec"]["containers"][0]["command"]
    words = [w.replace("$(JOB_COMPLETION_INDEX)", "1") for w in command[1:]]
    understood = parser().parse_args(words)
    assert (understood.hosts, understood.host, understood.ranks) == (2, 1, 8)
    name, own = found["spec"]["network"]["subdomain"], found["metadata"]["name"]
    assert understood.address == f"{own}-ranks-0-0.{name}"
    assert (job["parallelism"], job["completions"], job["backoffLimit"]) == (2, 2, 0)


def test_what_cannot_be_is_refused(recipe):
    for words in (["--hosts", "0"], ["--minutes", "0"], ["--ranks", "0"]):
        with pytest.raises(UsageError, match=words[0]):
            render.render(asked("slurm", *words), recipe)
    layout = replace(recipe.train, layout=replace(recipe.train.layout, shard=3))
    recipe = replace(recipe, train=layout)
    with pytest.raises(RecipeError, match="do not divide a world of 8"):
        render.render(asked("slurm"), recipe)
