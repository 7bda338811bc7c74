import pytest


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Function to the folder of an exported system, beside its config.yaml and model.pth."""
    from test_exported_networks import SYSTEMS, written  # on use: this file is read first

    from pysot.cli.export import main

    made = {}

    def folder_of(system):
        if system not in made:
            folder = tmp_path_factory.mktemp("exported")
            main([*written(folder, SYSTEMS[system]), "--output", str(folder / "exported")])
            made[system] = folder / "exported"  # only now: a failure is told to all who ask
        return made[system]

    return folder_of
