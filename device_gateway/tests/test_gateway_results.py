from datetime import timedelta, timezone
from typing import Any

import pytest

from yiyun_gateway import codes
from yiyun_gateway.config import Reading
from yiyun_gateway.documents import Composer, NotDeliverableError
from yiyun_gateway.hl7v2.fields import UnreadableError, instant
from yiyun_gateway.hl7v2.patient import is_id_card

CODES = codes.load()
COMPOSER = Composer("his-1", Reading(), CODES)
HEAD = "MSH|^~\\&|LIS|HIS-1|YIYUN|EDGE|20260102080500+0800||ORU^R01|C1|P|2.5.1||||||UNICODE UTF-8"
PID = "PID|1||M1^^^HIS^MR~11010519491231002X^^^&2.16.156.10011.1.3&ISO^NI||王^小东||19600102|M"
OBR = "OBR|1|P1|F1|LIPID^血脂|||20260102080000"
OBX = "OBX|1|NM|GLU^葡萄糖||5.6|mmol/L|3.9-6.1|N|||F"


def documents(*lines: str, encoding: str = "utf-8") -> list[dict[str, Any]]:
    raw = "\r".join(lines).encode(encoding)
    return [post.document for post in COMPOSER.compose(raw, "0" * 64, "2026-01-02T00:05:00.000Z").posts]


def result(obx: str, *more: str) -> dict[str, Any]:
    return documents(HEAD, PID, OBR, obx, *more)[0]["orders"][0]["results"][0]


def reason(*lines: str) -> str:
    with pytest.raises(NotDeliverableError) as caught:
        documents(*lines)
    return str(caught.value)


def test_a_whole_message_becomes_the_contracts_document() -> None:
    (document,) = documents(HEAD, PID, OBR, OBX)
    assert document["source"] == {"application": "LIS", "facility": "HIS-1", "site": "his-1"}
    assert document["message_control_id"] == "C1"
    assert document["patient"] == {
        "identifiers": [
            {"system": "urn:yiyun:mrn:HIS-1", "value": "M1"},
            {"system": "urn:oid:2.16.156.10011.1.3", "value": "11010519491231002X"},
        ],
        "name": "王小东",
        "birth_date": "1960-01-02",
        "gender": "male",
    }
    (order,) = document["orders"]
    assert (order["placer"], order["filler"], order["observed_at"]) == (
        "P1",
        "F1",
        "2026-01-02T08:00:00+08:00",
    )
    assert order["code"] == {"system": "urn:yiyun:code:HIS-1", "code": "LIPID", "display": "血脂"}
    assert order["results"] == [
        {
            "set_id": "1",
            "code": {
                "system": "http://loinc.org",
                "code": "14749-6",
                "display": "Glucose [Moles/volume] in Serum or Plasma",
            },
            "value_type": "NM",
            "value": "5.6",
            "comparator": "",
            "unit": "mmol/L",
            "reference_range": "3.9-6.1",
            "abnormal_flag": "N",
            "status": "final",
            "observed_at": "2026-01-02T08:00:00+08:00",
        }
    ]


@pytest.mark.parametrize(
    ("obx", "expected"),
    [
        ("OBX|1|NM|GLU||<0.5|mmol/L||L|||F", ("NM", "0.5", "<")),
        ("OBX|1|NM|GLU||>= 30|mmol/L||H|||F", ("NM", "30", ">=")),
        ("OBX|1|NM|GLU||≤3|mmol/L|||||F", ("NM", "3", "<=")),
        ("OBX|1|NM|GLU||阴性|mmol/L|||||F", ("ST", "阴性", "")),
        ("OBX|1|NM|GLU||300.00|mmol/L|||||F", ("NM", "300.00", "")),
        ("OBX|1|SN|GLU||>^100|mmol/L|||||F", ("SN", "100", ">")),
        ("OBX|1|SN|GLU||^1^:^128||||||F", ("SN", "1:128", "")),
        ("OBX|1|SN|GLU||=^7|mmol/L|||||F", ("SN", "7", "")),
        ("OBX|1|ST|GLU||neg ^ 2+||||||F", ("ST", "neg ^ 2+", "")),
        ("OBX|1|CE|GLU||LA6577-6^Negative^LN||||||F", ("CE", "Negative", "")),
        ("OBX|1|CWE|GLU||POS||||||F", ("CE", "POS", "")),
        (r"OBX|1|TX|GLU||line 1\.br\line 2~line 3||||||F", ("TX", "line 1\nline 2\nline 3", "")),
        (r"OBX|1|ST|GLU||a\F\b\S\c\T\d\R\e\E\f||||||F", ("ST", "a|b^c&d~e\\f", "")),
        (r"OBX|1|ST|GLU||\XE78E8B\||||||F", ("ST", "王", "")),
        (r"OBX|1|ST|GLU||5 \Zunknown\ x||||||F", ("ST", r"5 \Zunknown\ x", "")),
    ],
)
def test_values_keep_what_was_sent(obx: str, expected: tuple[str, str, str]) -> None:
    found = result(obx)
    assert (found["value_type"], found["value"], found["comparator"]) == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("F", "final"),
        ("C", "corrected"),
        ("P", "preliminary"),
        ("X", "cancelled"),
        ("W", "cancelled"),
        ("U", "final"),
    ],
)
def test_result_states_follow_table_0085(code: str, expected: str) -> None:
    assert result(f"OBX|1|NM|GLU||5.6|mmol/L|||||{code}")["status"] == expected


def test_the_same_code_with_another_unit_is_not_mapped() -> None:
    found = result("OBX|1|NM|GLU^葡萄糖||101|mg/dL|||||F")
    assert found["code"] == {"system": "urn:yiyun:code:HIS-1", "code": "GLU", "display": "葡萄糖"}


def test_another_facilitys_letters_are_not_mapped_and_are_listed() -> None:
    raw = "\r".join([HEAD.replace("HIS-1", "HIS-2"), PID, OBR, OBX]).encode()
    delivery = COMPOSER.compose(raw, "0" * 64, "2026-01-02T00:05:00.000Z")
    assert [one.system for one in delivery.unmapped] == ["urn:yiyun:code:HIS-2"]
    code = delivery.posts[0].document["orders"][0]["results"][0]["code"]
    assert code == {"system": "urn:yiyun:code:HIS-2", "code": "GLU", "display": "葡萄糖"}


def test_a_code_that_says_loinc_is_loinc() -> None:
    assert result("OBX|1|NM|718-7^Hemoglobin^LN||140|g/L|||||F")["code"]["code"] == "718-7"


def test_several_patients_give_several_documents_with_keys_of_their_own() -> None:
    other = PID.replace("M1^", "M2^")
    raw = "\r".join([HEAD, PID, "NTE|1||note", OBR, OBX, "NTE|1||x", other, OBR, OBX, OBR, OBX]).encode()
    posts = COMPOSER.compose(raw, "a" * 64, "2026-01-02T00:05:00.000Z").posts
    assert [post.document["patient"]["identifiers"][0]["value"] for post in posts] == ["M1", "M2"]
    assert [len(post.document["orders"]) for post in posts] == [1, 2]
    assert posts[0].key == "a" * 64
    assert len({post.key for post in posts}) == 2
    assert all(len(post.key) == 64 for post in posts)


def test_an_order_without_results_is_left_out_and_the_rest_delivered() -> None:
    (document,) = documents(HEAD, PID, "OBR|1|P0|F0|EMPTY", OBR, OBX)
    assert [order["filler"] for order in document["orders"]] == ["F1"]


def test_text_without_a_code_continues_the_result_before_it() -> None:
    found = result("OBX|1|ST|RPT^报告||第一行||||||F", "OBX|2|TX|||第二行||||||F")
    assert (found["value_type"], found["value"]) == ("TX", "第一行\n第二行")


@pytest.mark.parametrize("ending", ["\r", "\n", "\r\n"])
def test_any_line_end_between_segments_is_read(ending: str) -> None:
    raw = ending.join([HEAD, PID, OBR, OBX, ""]).encode()
    assert len(COMPOSER.compose(raw, "0" * 64, "2026-01-02T00:05:00.000Z").posts) == 1


def test_gb18030_is_read_as_declared() -> None:
    head = HEAD.replace("UNICODE UTF-8", "GB18030")
    assert documents(head, PID, OBR, OBX, encoding="gb18030")[0]["patient"]["name"] == "王小东"


@pytest.mark.parametrize("version", ["2.3", "2.3.1", "2.4", "2.5", "2.6"])
def test_versions_2_3_to_2_6_are_read(version: str) -> None:
    assert documents(HEAD.replace("2.5.1", version), PID, OBR, OBX)[0]["orders"]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((HEAD.replace("ORU^R01", "ADT^A01"), PID), "not handled yet: ADT^A01"),
        ((HEAD, PID, OBR), "no OBX"),
        ((HEAD, PID, OBR, "OBX|1|ED|GLU||^AP^^Base64^AAAA||||||F"), "value type ED is not handled yet"),
        ((HEAD, PID, OBR, "OBX|1|NM|||5.6|mmol/L|||||F"), "OBX-3 is empty"),
        ((HEAD, PID, OBR, "OBX|1|NM|GLU||5.6|mmol/L"), "OBX-11"),
        ((HEAD, PID, "OBR|1|P1|F1|LIPID", OBX), "neither OBX-14 nor OBR-7"),
        ((HEAD, PID, OBR, OBX + "|||soon"), "field 14 is not a time"),
        ((HEAD, PID, OBR, "some words"), "segment 4 does not begin with a segment name"),
        ((HEAD, PID, OBR, OBX, HEAD), "second MSH"),
    ],
)
def test_what_cannot_be_read_without_guessing_is_parked_with_the_reason(
    lines: tuple[str, ...], expected: str
) -> None:
    found = reason(*lines)
    assert expected in found
    assert "小东" not in found


def test_an_unforeseen_number_of_delimiters_is_still_read() -> None:
    assert (
        documents(HEAD.replace("^~\\&", "^~\\&#"), PID, OBR, OBX)[0]["orders"][0]["results"][0]["value"]
        == "5.6"
    )


def test_an_identity_number_in_pid_19_counts_only_with_its_check_character() -> None:
    plain = "PID|1||M1||王^小东||1960|F|||||||||||{}"
    good = documents(HEAD, plain.format("11010519491231002X"), OBR, OBX)[0]["patient"]
    bad = documents(HEAD, plain.format("110105194912310021"), OBR, OBX)[0]["patient"]
    assert [one["system"] for one in good["identifiers"]] == [
        "urn:yiyun:mrn:HIS-1",
        "urn:oid:2.16.156.10011.1.3",
    ]
    assert [one["system"] for one in bad["identifiers"]] == ["urn:yiyun:mrn:HIS-1"]
    assert (bad["birth_date"], bad["gender"]) == (None, "female")


def test_the_published_identity_number_example_is_valid() -> None:
    assert is_id_card("11010519491231002X")
    assert not is_id_card("110105194912310020")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20260102", "2026-01-02T00:00:00+08:00"),
        ("202601020304", "2026-01-02T03:04:00+08:00"),
        ("20260102030405.1234-0500", "2026-01-02T03:04:05-05:00"),
        ("2026", None),
        ("", None),
    ],
)
def test_times_are_read_with_their_offset_or_the_sites(text: str, expected: str | None) -> None:
    assert instant(text, timezone(timedelta(hours=8))) == expected


@pytest.mark.parametrize("text", ["20261302", "yesterday", "20260102250000"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        instant(text, timezone(timedelta(hours=8)))


def test_unreadable_is_a_value_error() -> None:
    assert issubclass(UnreadableError, ValueError)


def test_a_site_file_adds_mappings_and_wins(tmp_path: Any) -> None:
    file = tmp_path / "codes.toml"
    file.write_text(
        '[[entry]]\nfacility="HIS-2"\ncode="GLU"\nloinc="2345-7"\ndisplay="Glucose mass"\n'
        'units=["mg/dL"]\nsource="lab manual"\n'
    )
    mapping = codes.load(file)
    assert mapping.result("HIS-2", "GLU", "", "", "mg/dL").code == "2345-7"
    assert mapping.result("HIS-1", "GLU", "", "", "mmol/L").code == "14749-6"


@pytest.mark.parametrize(
    "text",
    [
        "entry = 1",
        "[[entry]]\nfacility='x'",
        "x = [",
        '[[entry]]\nfacility="a"\ncode="b"\nloinc="12"\ndisplay=""\nsource="s"',
    ],
)
def test_a_wrong_mapping_file_is_refused_by_name(tmp_path: Any, text: str) -> None:
    file = tmp_path / "codes.toml"
    file.write_text(text)
    with pytest.raises(codes.CodesError, match=r"codes\.toml"):
        codes.load(file)


def test_every_packaged_loinc_code_has_the_right_check_digit() -> None:
    for entry in CODES.entries.values():
        digits, check = entry.loinc.split("-")
        doubled = [int(d) * (2 if n % 2 == 0 else 1) for n, d in enumerate(reversed(digits))]
        assert (10 - sum(d // 10 + d % 10 for d in doubled) % 10) % 10 == int(check), entry.loinc
