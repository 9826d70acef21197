"""Every option has a meaning that the help tells, and a default that starts one plain host."""

import argparse

from pretrain.launch.options import add


def test_defaults_start_one_host():
    command = argparse.ArgumentParser()
    add(command)
    given = command.parse_args([])
    assert (given.ranks, given.elastic, given.hosts, given.host, given.render) == (
        None,
        0,
        1,
        0,
        None,
    )
    assert given.stage == "run"


def test_every_option_is_told():
    command = argparse.ArgumentParser()
    add(command)
    for action in command._actions:
        assert action.help
        assert action.option_strings[-1] in command.format_help()
