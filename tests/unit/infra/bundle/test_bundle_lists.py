"""Package lists are read from the roles, and pins keep the unstable suite to what a role names."""

from __future__ import annotations

from pathlib import Path

import pytest

import playbooks
from infra.bundle.lists import PackageList, package_lists, preferences
from infra.errors import BadInputError


def write(root: Path, role: str, text: str) -> None:
    path = root / "roles" / role / "meta" / "packages.yml"
    path.parent.mkdir(parents=True)
    path.write_text(text)


def test_lists_are_collected_by_role(tmp_path: Path) -> None:
    write(tmp_path, "proxy", "packages: [nginx]")
    write(tmp_path, "mysql", "packages: [mysql-server-core]\nsuite: sid\npins: [mysql-*]")
    (tmp_path / "roles" / "base" / "meta").mkdir(parents=True)
    assert package_lists(tmp_path) == {
        "proxy": PackageList(packages=("nginx",)),
        "mysql": PackageList(packages=("mysql-server-core",), suite="sid", pins=("mysql-*",)),
    }


@pytest.mark.parametrize(
    "text", ["packages: nginx", "package: [nginx]", "packages: [a]\nsuite: buster", "- a", ":["]
)
def test_a_wrong_list_is_named(tmp_path: Path, text: str) -> None:
    write(tmp_path, "proxy", text)
    with pytest.raises(BadInputError, match=r"roles/proxy/meta/packages\.yml"):
        package_lists(tmp_path)


def test_a_role_without_sid_gets_nothing_from_it() -> None:
    assert preferences(PackageList(packages=("nginx",))) == (
        "Package: *\nPin: release n=sid\nPin-Priority: -1\n"
    )


def test_a_role_with_pins_gets_only_those_first() -> None:
    text = preferences(PackageList(packages=("a",), suite="sid", pins=("mysql-*", "libicu78")))
    assert text.split("\n\n") == [
        "Package: mysql-* libicu78\nPin: release n=sid\nPin-Priority: 990",
        "Package: *\nPin: release n=sid\nPin-Priority: 100\n",
    ]


def test_the_shipped_roles_have_lists_that_can_be_read() -> None:
    lists = package_lists(Path(playbooks.__file__).parent)
    assert "nginx" in lists["proxy"].packages
    assert all(wanted.packages for wanted in lists.values())
