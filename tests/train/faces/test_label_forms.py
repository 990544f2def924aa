"""Forms in which labels come: spreadsheets, UTKFace's names, CelebA's lists, plain folders; in every reader."""

from __future__ import annotations

import zipfile

import pytest
from PIL import Image

from facellm.errors import FaceLLMError
from tests.train.teachers.teacher_server import write_faces
from train.bias.bias import left_out
from train.faces.label_files import age_group, read_table
from train.faces.label_rows import read_labels
from train.faces.sets import FaceSet, chosen_split, open_sets


def picture(path, colour="red"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 20), colour).save(path)


@pytest.mark.parametrize(
    ("text", "group"),
    [
        *((text, "3-9") for text in ("09. Mrz", "9. März", "9-Mär", "03. Sep", "Mrz 09", "9.3.2024", "03.09.2024",
                                      "3/9/2024", "09.03.", "9-Mar-2024")),
        *((text, "10-19") for text in ("19. Okt", "Okt 19", "19. Okt. 2024", "19.10.2024", "10/19/2024", "Okt-19",
                                        "19-10-2024 00:00")),
    ],
)  # fmt: skip
def test_german_and_english_dates_are_turned_back(text, group):
    assert age_group(text) == (group, True)


@pytest.mark.parametrize("text", ["20. Okt", "1.1.2024", "3/10/2024", "Mai 09", "32.10.2024"])
def test_dates_that_were_no_age_group_are_refused(text):
    with pytest.raises(ValueError):
        age_group(text)


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_separators_mark_case_years_and_absolute_paths_in_both_readers(tmp_path, mark, bom):
    picture(tmp_path / "val" / "1.jpg")
    picture(tmp_path / "val" / "2.jpg", "blue")
    rows = [["File", "AGE", "Sex", "Ethnicity"], ["val/1.jpg", "25", "male", "white"],
            [str(tmp_path / "val" / "2.jpg"), "09. Mrz", "1", "south_east asian"]]  # fmt: skip
    (tmp_path / "labels.csv").write_text(bom + "\r\n".join(mark.join(row) for row in rows), encoding="utf-8")
    faces = {face.name: face.labels for face in FaceSet(tmp_path).faces(None)}
    assert faces == {
        "val/1.jpg": {"age": "20-29", "gender": "Male", "race": "White"},
        "val/2.jpg": {"age": "3-9", "gender": "Female"},
    }
    read = read_labels(tmp_path, tmp_path / "labels.csv")
    assert [(row.file, row.age, row.gender) for row in read.rows] == [("val/1.jpg", "20-29", "Male")]
    (fault,) = read.faults
    assert fault.line == 3 and "unknown race 'south_east asian'" in fault.text


def test_one_image_by_two_names_is_told(tmp_path):
    (tmp_path / "labels.csv").write_text(f"file,age\n1.jpg,25\n{tmp_path}/1.jpg,26\n")
    with pytest.raises(FaceLLMError, match=r"names 1\.jpg a second time"):
        FaceSet(tmp_path)


def test_a_set_of_utkface_names_in_folder_and_archive(tmp_path, capsys):
    picture(tmp_path / "25_1_3_20170109150557335.jpg.chip.jpg")
    picture(tmp_path / "61_0_20170109142408075.jpg", "blue")
    (tmp_path / "._25_1_3_20170109150557335.jpg.chip.jpg").write_bytes(bytes(99))
    picture(tmp_path / "4_0_1_2.jpg", "green")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(tmp_path / "4_0_1_2.jpg", "4_0_1_2.jpg")
        archive.writestr("__MACOSX/._4_0_1_2.jpg", bytes(9))
    (tmp_path / "4_0_1_2.jpg").unlink()
    (source,) = open_sets([tmp_path])
    assert {face.name: face.labels for face in source.faces(None)} == {
        "25_1_3_20170109150557335.jpg.chip.jpg": {"age": "20-29", "gender": "Female", "race": "Indian"},
        "4_0_1_2.jpg": {"age": "3-9", "gender": "Male", "race": "Black"},
    }
    assert source.labels.years["4_0_1_2.jpg"] == 4.0 and source.image("4_0_1_2.jpg").size == (20, 20)
    told = capsys.readouterr().err
    assert "1 image of" in told and "61_0_20170109142408075.jpg: its name has three parts" in told


CELEBA = """\
3
5_o_Clock_Shadow Male Smiling
000001.jpg  -1 -1  1
000002.jpg   1  1 -1
000003.jpg   1  1
"""


@pytest.mark.parametrize("beside", [False, True])
def test_celebas_list_tells_the_gender(tmp_path, beside):
    images = tmp_path / "img_align_celeba"
    for number in (1, 2, 3):
        picture(images / f"00000{number}.jpg", (number, 0, 0))
    ((tmp_path if beside else images) / "list_attr_celeba.txt").write_text(CELEBA.rpartition("000003")[0])
    source = FaceSet(images)
    assert {face.name: face.labels for face in source.faces(None)} == {
        "000001.jpg": {"gender": "Female"},
        "000002.jpg": {"gender": "Male"},
    }
    csv = tmp_path / "list_attr_celeba.csv"
    csv.write_text("image_id,5_o_Clock_Shadow,Male\n000001.jpg,-1,-1\n000002.jpg,-1,1\n000003.jpg,-1,2\n")
    read = FaceSet(images, csv)
    assert [face.labels for face in read.faces(None)] == [{"gender": "Female"}, {"gender": "Male"}, {}]
    assert "gender '2' (1)" in read.unknown
    with pytest.raises(FaceLLMError, match="CelebA's attributes, which tell the gender and no age"):
        read_labels(images, csv)


def test_a_cut_row_of_celebas_list_is_a_fault_of_its_line(tmp_path):
    file = tmp_path / "list_attr_celeba.txt"
    file.write_text(CELEBA)
    table = read_table(file, "--labels")
    assert len(table.rows) == 2 and [str(note) for note in table.faults] == [
        "line 5 (no file): 3 cells stand under 4 columns"
    ]
    with pytest.raises(FaceLLMError, match="line 5"):
        FaceSet(tmp_path)


def test_fairfaces_file_is_found_by_a_set_too(tmp_path):
    write_faces(tmp_path, 3)
    assert [face.name for face in FaceSet(tmp_path).faces("val")] == ["val/1.jpg", "val/2.jpg", "val/3.jpg"]


def test_a_folder_without_any_labels_is_told_what_would_be_some(tmp_path):
    picture(tmp_path / "holiday.jpg")
    with pytest.raises(FaceLLMError, match=r"no labels\.csv, no fairface_label_\*\.csv, no list_attr_celeba\.txt"):
        FaceSet(tmp_path)


def test_the_split_of_a_plain_folder_is_all_of_it(tmp_path, capsys):
    for name, files in (("plain", ("1.jpg", "2.jpg")), ("split", ("train/1.jpg", "val/2.jpg"))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "labels.csv").write_text("file,gender\n" + "".join(f"{file},Male\n" for file in files))
    plain, split = FaceSet(tmp_path / "plain"), FaceSet(tmp_path / "split")
    assert chosen_split([plain], None) is None and chosen_split([split], None) == "val"
    assert chosen_split([plain, split], None) == "val" and "plain has no image in val/" in capsys.readouterr().err
    assert chosen_split([split], "all") is None and chosen_split([split], "") is None
    assert chosen_split([split], "train") == "train"


def test_verbs_read_such_a_folder(tmp_path, capsys):
    """The command itself: lower case, years, no `val/`, a quoted cell that would swallow lines."""
    from train.__main__ import main

    data = tmp_path / "people"
    for number in range(4):
        picture(data / f"{number}.jpg", (50 * number, 0, 0))
    rows = "".join(f"{number}.jpg,{20 + 10 * number},{'fe' * (number % 2)}male,white\n" for number in range(4))
    (data / "labels.csv").write_text("file,age,gender,race\n" + rows)
    assert main(["benchmark", "--data", str(data), "--out", str(tmp_path / "bench")]) == 0
    assert "people_single_mcq_gender.json" in capsys.readouterr().out
    (data / "labels.csv").write_text("file,age,gender,race\n" + rows.replace("1.jpg,30", '1.jpg,"30'))
    assert main(["benchmark", "--data", str(data), "--out", str(tmp_path / "bench")]) == 2
    assert "line 3 (no file): a quotation mark is opened" in capsys.readouterr().err
    labels = data / "labels.csv"
    command = ["dataset", "--images", str(data), "--labels", str(labels), "--out", str(tmp_path / "set")]
    assert main([*command, "--teacher", "measured", "--dry-run"]) == 2
    assert "quotation mark" in capsys.readouterr().err
    (told,) = left_out(read_labels(data, labels))  # `bias` goes on and says so in its report
    assert "1 row left out; the first: line 3 (no file): a quotation mark" in told
