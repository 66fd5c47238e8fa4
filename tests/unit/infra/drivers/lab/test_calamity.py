"""What a lost region takes along, and what it leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.drivers.lab.calamity import things_of_region

if TYPE_CHECKING:
    from infra.drivers.lab.desired import Desired


def test_everything_in_the_vpc_goes_and_the_premises_and_the_other_regions_store_stay(
    desired: Desired,
) -> None:
    lost = set(things_of_region(desired))
    assert {"app-1", "db-3", "ops-1", "ora-2", "lb-web", "s3-cn-north-1"} <= lost
    assert not lost & {"edge-1", "his-1", "s3-cn-east-2"}
