"""VOC's annotation files: numbers as they stand there; what lacks is named."""

import pytest

from xseg.data.read.voc_xml import LabelledObject, VocAnnotation, VocObject, read_labelled, read_voc_xml

BOX = "<bndbox><xmin>1</xmin><ymin>2.5</ymin><xmax>3</xmax><ymax>4</ymax></bndbox>"


def written(tmp_path, inner):
    (tmp_path / "a.xml").write_text(f"<annotation>{inner}</annotation>")
    return tmp_path / "a.xml"


def test_boxes_are_counted_from_zero(tmp_path):
    """Names are stripped, an empty `difficult` is none, the box of a part of an object is not the object's."""
    size = "<size><width>30</width><height>20</height><depth>3</depth></size>"
    part = "<part><name>head</name><bndbox><xmin>9</xmin></bndbox></part>"
    first = f"<object><name> dog </name><difficult>1</difficult>{part}{BOX}</object>"
    second = f"<object><name>cat</name><difficult/>{BOX}</object>"
    expected = [VocObject("dog", (0, 1.5, 3, 4), True), VocObject("cat", (0, 1.5, 3, 4), False)]
    assert read_voc_xml(written(tmp_path, size + first + second)) == VocAnnotation((20, 30), expected)
    assert read_voc_xml(written(tmp_path, "")) == VocAnnotation(None, [])


@pytest.mark.parametrize(
    "inner, message",
    [
        (f"<object>{BOX}</object>", r"a\.xml: object 1 has no name"),
        ("<object><name>dog</name></object>", r"a\.xml: object 1 \(dog\): bndbox/xmin must be a number, got None"),
        (f"<object><name>dog</name><difficult>yes</difficult>{BOX}</object>", r"object 1 \(dog\): difficult must be"),
        ("<size><width>3</width></size>", r"a\.xml: size/height must be a number, got None"),
        (
            "<size><width>1e999</width><height>3</height></size>",
            r"a\.xml: size/width must be a finite number, got '1e999'",
        ),
        ("<size><width>3</width><height>1e999</height></size>", r"a\.xml: size/height must be a finite number"),
        ("<object>", r"a\.xml is not XML, or not complete"),
    ],
)
def test_what_lacks_is_named(tmp_path, inner, message):
    with pytest.raises(ValueError, match=message):
        read_voc_xml(written(tmp_path, inner))


def test_labelled_objects_count_pixels_from_0_and_faults_are_raised_or_reported(tmp_path):
    path = written(tmp_path, f"<object><name>cow</name>{BOX}</object><object><name>dog</name>{BOX}</object>")
    kinds = []
    assert read_labelled(path, ["cat", "dog"], lambda kind, error: kinds.append(kind)) == (
        None,
        [LabelledObject(2, 1, (0, 1.5, 3, 4), False)],
    )
    assert kinds == ["incomplete image", "unknown class"]
    with pytest.raises(ValueError, match=r"a\.xml states no size"):
        read_labelled(path, ["cat", "dog"])


@pytest.mark.parametrize(
    "head, message",
    [
        ('<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;">]>', "DOCTYPE"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd">', "DOCTYPE"),
        ('<?xml version="1.0" encoding="gbk"?>', "not XML, or not complete"),
        ('<?xml version="1.0" encoding="paper"?>', "not XML, or not complete"),
    ],
)
def test_entities_and_unknown_encodings_are_refused(tmp_path, head, message):
    (tmp_path / "a.xml").write_text(f"{head}<annotation/>")
    with pytest.raises(ValueError, match=rf"a\.xml.*{message}"):
        read_voc_xml(tmp_path / "a.xml")
