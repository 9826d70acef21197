"""Commands about a run: what they print, and that they leave it as it is."""

from argparse import Namespace

from pretrain import commands, flow, store


def test_status_tells_every_stage_and_one_hash(tiny_run, capsys):
    before = store.hash_json(flow.tree_hash(tiny_run))
    assert commands.status(Namespace(run=tiny_run)) == 0
    out = capsys.readouterr().out
    assert all(f"{name:>9}  " in out for name in flow.STAGES)
    assert f"tree  {before}" in out
    assert "goodput" in out


def test_an_audit_finds_nothing_wrong(tiny_run, capsys):
    assert commands.audit(Namespace(run=tiny_run)) == 0
    assert capsys.readouterr().out
