"""Label files: FairFace's, UTKFace's names, plain CSV; faults with their lines; ages that a spreadsheet mangled."""

from __future__ import annotations

import csv

import pytest
from PIL import Image

from facellm.errors import FaceLLMError
from facellm.labels import AGE_GROUPS
from tests.train.teachers.teacher_server import write_faces
from train.faces.label_files import age_group, read_file_labels, read_label, read_table
from train.faces.label_rows import read_labels


@pytest.mark.parametrize(
    ("text", "group"),
    [
        *(
            (text, "3-9")
            for text in ("9-Mar", "09-Mar", "03-Sep", "3-Sep", "Mar-09", "Sep-03", "2024-03-09", "9-mar-24")
        ),
        *((text, "10-19") for text in ("19-Oct", "Oct-19", "October 19", "2026-10-19 00:00:00")),
        *((text, "more than 70") for text in ("70+", ">70", "More than 70")),
        ("3–9", "3-9"),
        ("'10-19", "10-19"),
    ],
)
def test_mangled_ages_are_repaired(text, group):
    assert age_group(text) == (group, True)


@pytest.mark.parametrize("group", AGE_GROUPS)
def test_age_groups_stay_as_they_are(group):
    assert age_group(group) == (group, False)


@pytest.mark.parametrize(
    ("years", "group"),
    [
        ("0", "0-2"),
        ("2", "0-2"),
        ("3", "3-9"),
        ("19", "10-19"),
        ("20", "20-29"),
        ("69", "60-69"),
        ("70.0", "more than 70"),
    ],
)
def test_years_find_their_group(years, group):
    assert age_group(years) == (group, False)


@pytest.mark.parametrize("text", ["", "adult", "9-Apr", "19-19", "3-19", "-4", "999", "31-Oct", "Smarch-09"])
def test_other_ages_are_refused(text):
    with pytest.raises(ValueError):
        age_group(text)


@pytest.mark.parametrize("inside", [False, True])
def test_fairface_folder(tmp_path, inside):
    """The folder that holds `val`, and `val` itself; the label file is found in both cases."""
    write_faces(tmp_path, 3)
    labels = read_labels(tmp_path / "val" if inside else tmp_path)
    assert [row.line for row in labels.rows] == [2, 3, 4]
    assert [(row.file, row.age, row.gender, row.race) for row in labels.rows][:2] == [
        ("val/1.jpg", "3-9", "Male", "East Asian"),
        ("val/2.jpg", "40-49", "Female", "Latino_Hispanic"),
    ]
    assert not labels.faults and not labels.repairs
    assert labels.source.endswith("fairface_label_val.csv")


def test_every_fault_has_its_line(tmp_path):
    changes = [
        {"age": "old"},
        {"gender": "X", "race": "Martian"},
        {"file": "val/99.jpg"},
        {},
        {},
        {"file": "val/5.jpg"},
    ]
    write_faces(tmp_path, 8, [*changes, {"file": "../secret.jpg"}, {"age": "19-Oct"}])
    (tmp_path / "val" / "4.jpg").write_bytes((tmp_path / "val" / "4.jpg").read_bytes()[:200])
    labels = read_labels(tmp_path)
    faults = {note.line: note.text for note in labels.faults}
    assert list(faults) == [2, 3, 4, 5, 7, 8]
    assert "unknown age 'old'" in faults[2]
    assert "unknown gender 'X'" in faults[3] and "unknown race 'Martian'" in faults[3]
    assert "no such image" in faults[4] and "no such image" in faults[8]
    assert "damaged" in faults[5]
    assert "line 6 already" in faults[7]
    assert [(note.line, note.text) for note in labels.repairs] == [(9, "age '19-Oct' read as '10-19'")]
    assert [row.line for row in labels.rows] == [6, 9]


def test_the_same_image_under_two_names_is_a_fault(tmp_path):
    write_faces(tmp_path, 2)
    (tmp_path / "val" / "2.jpg").write_bytes((tmp_path / "val" / "1.jpg").read_bytes())
    labels = read_labels(tmp_path)
    assert [str(note) for note in labels.faults] == ["line 3 (val/2.jpg): the same image as val/1.jpg in line 2"]


def test_plain_csv_of_a_spreadsheet(tmp_path):
    Image.new("RGB", (20, 20)).save(tmp_path / "a b.png")
    file = tmp_path / "people.csv"
    file.write_text("\ufeffNote;Image;Age;Sex;Ethnicity\n\n;a b.png;34;female;east-asian\n", encoding="utf-8")
    (row,) = read_labels(tmp_path, file).rows
    assert (row.line, row.age, row.gender, row.race) == (3, "30-39", "Female", "East Asian")


def test_utkface_names(tmp_path):
    for place, name in enumerate(("26_1_2_20170116174525125.jpg", "1_0_4_2.jpg", "61_0_20170109142408075.jpg")):
        Image.new("RGB", (20, 20), (place * 50, 0, 0)).save(tmp_path / name)
    labels = read_labels(tmp_path)
    assert [(row.age, row.gender, row.race) for row in labels.rows] == [
        ("0-2", "Male", "Others"),
        ("20-29", "Female", "Asian"),
    ]
    (fault,) = labels.faults
    assert fault.file == "61_0_20170109142408075.jpg" and "gender or race is missing" in fault.text


def test_names_that_utkface_does_not_have(tmp_path):
    Image.new("RGB", (20, 20)).save(tmp_path / "25_1_3_20170109150557335.jpg.chip.jpg")
    Image.new("RGB", (20, 20), "red").save(tmp_path / "30_7_3_20170109150557335.jpg")
    Image.new("RGB", (20, 20), "blue").save(tmp_path / "holiday.jpg")
    (tmp_path / "._25_1_3_20170109150557335.jpg.chip.jpg").write_bytes(bytes(200))  # a Mac's note about the file
    labels = read_labels(tmp_path)
    assert [(row.age, row.gender, row.race) for row in labels.rows] == [("20-29", "Female", "Indian")]
    assert [note.text for note in labels.faults] == [
        "its name has gender 7 and race 3, which UTKFace does not have",
        "it is not named as UTKFace names its images (AGE_GENDER_RACE_DATE.jpg)",
    ]


def test_absolute_names_must_lie_in_the_folder(tmp_path):
    folder = tmp_path / "val"
    folder.mkdir()
    for path, colour in ((folder / "1.jpg", "red"), (tmp_path / "2.jpg", "blue")):
        Image.new("RGB", (20, 20), colour).save(path)
    file = tmp_path / "people.csv"
    file.write_text(f"file,age,gender,race\n{folder}/1.jpg,25,Male,White\n{tmp_path}/2.jpg,25,Male,White\n")
    labels = read_labels(folder, file)
    assert [row.file for row in labels.rows] == ["1.jpg"]
    assert [note.line for note in labels.faults] == [3] and "no such image" in labels.faults[0].text


def test_a_stray_quotation_mark_costs_its_own_line_only(tmp_path):
    write_faces(tmp_path, 4)
    file = tmp_path / "fairface_label_val.csv"
    lines = file.read_text().splitlines()
    lines[2] = lines[2].rpartition(",")[0] + ',"True'
    lines[4] += ",and,more"
    file.write_text("\n".join(lines))
    labels = read_labels(tmp_path)
    assert [row.line for row in labels.rows] == [2, 4]
    assert [str(note) for note in labels.faults] == [
        "line 3 (no file): a quotation mark is opened and not closed on this line",
        "line 5 (val/4.jpg): 7 cells stand under 5 columns",
    ]
    with pytest.raises(FaceLLMError, match=r"line 3 .*quotation mark"):
        read_file_labels(file)


def test_spellings_of_labels(tmp_path):
    assert read_label("gender", "male") == ("Male", False) and read_label("race", "east-asian")[0] == "East Asian"
    assert read_label("expression", "Happy") == ("happiness", False)
    assert read_label("gender", "1") == ("Female", True)  # UTKFace and FairFace agree on this index
    for column, text, told in (("race", "3", "class index"), ("gender", "2", "class index"), ("race", "Elf", "one of")):
        with pytest.raises(ValueError, match=told):
            read_label(column, text)


def test_labels_of_a_set_are_read_like_those_for_a_teacher(tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text("\ufefffile;age;gender;race\nval/1.jpg;25;male;white\nval/2.jpg;9-Mar;F;2\nval/3.jpg;;;2\n")
    read = read_file_labels(file)
    assert read.labels["val/1.jpg"] == {"age": "20-29", "gender": "Male", "race": "White"}
    assert read.labels["val/2.jpg"] == {"age": "3-9"} and read.labels["val/3.jpg"] == {}
    assert read.years == {"val/1.jpg": 25.0}
    assert read.about_unknown(file).endswith(
        "has 3 labels that are unknown and were left out: race '2' (2), gender 'F' (1)."
    )
    file.write_text("file,age\na.jpg,25\na.jpg,26\n")
    with pytest.raises(FaceLLMError, match=r"line 3 names a\.jpg a second time"):
        read_file_labels(file)


def test_quoted_cells_may_span_lines_where_that_is_asked_for(tmp_path):
    file = tmp_path / "answers.csv"
    file.write_text('image,answer\na.jpg,"one\ntwo, three"\nb.jpg,four\n')
    rows = read_table(file, "--human", ("image",), labels=False, multiline=True).rows
    assert rows == ((2, {"image": "a.jpg", "answer": "one\ntwo, three"}), (4, {"image": "b.jpg", "answer": "four"}))
    file.write_text('image,answer\na.jpg,"one\nb.jpg,four\n')
    assert [note.line for note in read_table(file, "--human", ("image",), labels=False, multiline=True).faults] == [2]


def test_nothing_to_read(tmp_path):
    with pytest.raises(FaceLLMError, match="is not a folder"):
        read_labels(tmp_path / "none")
    with pytest.raises(FaceLLMError, match="--labels"):
        read_labels(tmp_path)
    file = tmp_path / "bad.csv"
    with pytest.raises(FaceLLMError, match="cannot be read"):
        read_labels(tmp_path, file)
    file.write_text("file,gender\na,Male\n")
    with pytest.raises(FaceLLMError, match="no column `age`"):
        read_labels(tmp_path, file)
    file.write_bytes(b"file,age,gender,race\n\xff\xfe,1,2,3\n")
    with pytest.raises(FaceLLMError, match="UTF-8"):
        read_labels(tmp_path, file)


def test_fairface_own_files(shared):
    """Every age in the published files is read, none by repair."""
    with (shared / "data" / "fairface" / "fairface_label_val.csv").open(newline="") as file:
        ages = [age_group(row["age"]) for row in csv.DictReader(file)]
    assert len(ages) == 10_954
    assert {group for group, _ in ages} == set(AGE_GROUPS)
    assert not any(repaired for _, repaired in ages)
