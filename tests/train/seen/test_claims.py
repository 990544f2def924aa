"""What sentences say: negations, hedges, synonyms, contractions, evasions, ages."""

from __future__ import annotations

import pytest

from train.seen.claims import assertions, polarity

YES, NO = True, False
# (intent, answer, what it says)
POLARITIES = [
    ("glasses", "Yes, she is wearing glasses.", YES),
    ("glasses", "No, she isn't wearing any glasses.", NO),
    ("glasses", "She wears no glasses.", NO),
    ("glasses", "There are no glasses on her face.", NO),
    ("glasses", "I don't see any glasses.", NO),
    ("glasses", "I can't see any spectacles here.", NO),
    ("glasses", "No glasses are visible.", NO),
    ("glasses", "Glasses are not visible.", NO),
    ("glasses", "His eyes are uncovered.", NO),
    ("glasses", "He has a beard but no glasses.", NO),
    ("glasses", "He has no beard, but he wears glasses.", YES),
    ("glasses", "Without glasses, with a beard.", NO),
    ("glasses", "Dark sunglasses hide his eyes.", YES),
    ("glasses", "He doesn't have a hat, glasses or a beard.", NO),
    ("glasses", "She has rectangular frames; these are eyeglasses.", YES),
    ("glasses", "I can't tell whether she is wearing glasses.", None),
    ("glasses", "The apparent ethnicity is White.", None),
    ("sunglasses", "No, he wears glasses with clear lenses.", NO),
    ("headwear", "He is wearing a cap.", YES),
    ("headwear", "His head is bare.", NO),
    ("headwear", "Nothing covers her head.", NO),
    ("headwear", "She isn't wearing a hat, cap or scarf.", NO),
    ("makeup", "Her face looks natural, without make-up.", NO),
    ("makeup", "She wears red lipstick.", YES),
    ("makeup", "I see no make-up on her face.", NO),
    ("earrings", "None that I can see; no earrings are visible.", NO),
    ("earrings", "Yes, small studs in her ears.", YES),
    ("covering", "Nothing is in front of the face.", NO),
    ("covering", "A hand covers part of her face.", YES),
    ("covering", "The whole face is visible.", NO),
    ("wrinkles", "Her skin is smooth, without wrinkles.", NO),
    ("wrinkles", "There are deep wrinkles on his forehead.", YES),
    ("freckles", "No freckles can be seen.", NO),
    ("facial_hair", "He is clean-shaven.", NO),
    ("facial_hair", "He has a short beard.", YES),
    ("facial_hair", "There is some stubble.", YES),
    ("facial_hair", "No beard or moustache; he is clean-shaven.", NO),
    ("beard", "No beard, only a moustache.", NO),
    ("beard", "His chin is shaved.", NO),
    ("beard", "He has a goatee.", YES),
    ("moustache", "No, his upper lip is bare.", NO),
    ("clean_shaven", "No, he has a beard.", NO),
    ("clean_shaven", "I see no beard or moustache.", YES),
    ("bald", "He has short dark hair.", NO),
    ("bald", "His head is shaved.", YES),
    ("bald", "She isn't bald: she has long hair.", NO),
    ("long_hair", "Her hair is short.", NO),
    ("long_hair", "It falls past her shoulders.", YES),
    ("smiling", "She is not smiling; she looks calm.", NO),
    ("smiling", "He looks neutral.", NO),
    ("smiling", "A broad grin shows.", YES),
    ("teeth", "His mouth is closed.", NO),
    ("teeth", "Her teeth aren't visible.", NO),
    ("teeth", "The teeth show.", YES),
    ("mouth_open", "Her lips are parted.", YES),
    ("mouth_open", "Closed.", NO),
    ("mouth_open", "It isn't open.", NO),
    ("eyes_closed", "Both eyes are open.", NO),
    ("eyes_open", "His eyes are shut.", NO),
    ("looking_at_camera", "She looks to the viewer's left.", NO),
    ("looking_at_camera", "Straight into the lens.", YES),
    ("looking_at_camera", "He looks away, to the right.", NO),
    ("happy", "She doesn't look happy; she looks sad.", NO),
    ("happy", "He seems cheerful.", YES),
    ("sad", "No sadness that I can see: he looks cheerful.", NO),
    ("angry", "His brows are drawn together, he looks annoyed.", YES),
    ("angry", "She is calm.", NO),
    ("child", "This is an adult.", NO),
    ("outdoors", "The background is plain, as in a studio.", NO),
    ("dark_picture", "The light is good.", NO),
    ("dark_picture", "It is dimly lit.", YES),
    ("blurry", "It is soft and lacks fine detail.", YES),
    ("sharp", "The picture is blurred.", NO),
    ("black_and_white", "It is a colour photo.", NO),
    ("black_and_white", "The picture has no colour.", YES),
]


@pytest.mark.parametrize(("intent", "text", "said"), POLARITIES)
def test_what_a_sentence_says_whatever_its_first_word(intent, text, said):
    assert polarity.polarity(intent, assertions.read(text, polarity.ABOUT[intent])) is said


@pytest.mark.parametrize(
    ("text", "lead"),
    [
        ("Yes.", YES),
        ("yes, she does", YES),
        ("Yeah, sure", YES),
        ("Correct.", YES),
        ("It looks so: the brows are low.", YES),
        ("As far as the face goes, yes: it is frontal.", YES),
        ("Probably yes.", YES),
        ("She has freckles, yes.", YES),
        ("No.", NO),
        ("No, she isn't.", NO),
        ("Nope", NO),
        ("Not really: she looks calm.", NO),
        ("Probably not.", NO),
        ("Not that I can see.", NO),
        ("It does not look so.", NO),
        ("None.", NO),
        ("no she is not", NO),
        ("No doubt, she is happy.", None),
        ("Not only glasses but a hat.", None),
        ("No glasses are visible.", None),
        ("She wears a hat.", None),
        ("Nothing covers it.", None),
        ("", None),
    ],
)
def test_first_words_that_are_yes_or_no(text, lead):
    assert assertions.lead_of(text) is lead


@pytest.mark.parametrize(
    ("about", "text", "values"),
    [
        ("hair_colour", "It's dark brown.", {"dark"}),
        ("hair_colour", "Her hair is light brown.", {"brown"}),
        ("hair_colour", "She has long wavy blonde hair.", {"blond"}),
        ("hair_colour", "He has gone grey.", {"grey"}),
        ("hair_colour", "Brown rather than blond.", {"brown"}),
        ("hair_colour", "It isn't blond, it is red.", {"red"}),
        ("hair_colour", "She has dark eyes.", set()),
        ("hair_length", "He wears it short.", {"short"}),
        ("hair_length", "Her long hair is tied back.", {"long"}),
        ("hair_length", "There is hardly any hair.", {"bald"}),
        ("hair_texture", "Straight, without curls.", {"straight"}),
        ("hair_texture", "It is full of curls.", {"curly"}),
        ("expression", "There is no smile and no frown.", set()),
        ("expression", "She looks pensive.", {"neutral"}),
        ("gaze", "Away from the camera, to the viewer's left.", {"left", "away"}),
        ("gaze", "A close-up of a man.", set()),
        ("pose", "His head is turned to the viewer's right.", {"right"}),
        ("pose", "The face is frontal, in light from the left.", {"frontal"}),
        ("brows", "The face is long and narrow.", set()),
        ("brows", "Thin.", {"thin"}),
        ("lips", "They are rather full.", {"full"}),
        ("skin", "The image is too soft to judge pores and fine lines.", set()),
        ("skin", "A few fine lines show.", {"lines"}),
        ("light", "The light is dim.", {"dim"}),
        ("background", "A plain dark wall.", {"plain", "dark", "wall"}),
        ("sharpness", "The image is neither very sharp nor badly blurred.", {"middle"}),
        ("people", "Just one.", {"one"}),
        ("gender", "It looks like a woman.", {"Female"}),
        ("facial_hair", "No beard, just a moustache.", {"moustache"}),
        ("eye_colour", "They look blue.", {"blue"}),
    ],
)
def test_values(about, text, values):
    assert assertions.read(text, about).says(about) == values


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("She looks 34 years old.", 34, 34),
        ("About 35.", 35, 35),
        ("35", 35, 35),
        ("Between 30 and 40 years.", 30, 40),
        ("In his mid-thirties.", 33, 37),
        ("in her 40s", 40, 49),
        ("A baby.", 0, 2),
        ("around twenty-five", 25, 25),
        ("An elderly woman.", 60, 110),
        ("roughly two years old", 2, 2),
        ("I would say late fifties", 56, 59),
        ("She is six years old.", 6, 6),
        ("a teenager", 13, 19),
    ],
)
def test_ages(text, low, high):
    assert assertions.age_of(text) == (low, high)


@pytest.mark.parametrize(
    "text", ["One person.", "It is a good photo.", "Two of 30 people.", "The wall is blue at one edge."]
)
def test_no_age(text):
    assert assertions.age_of(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "I can't tell.",
        "I don't know who this is.",
        "That cannot be seen.",
        "It's unclear.",
        "Hard to say.",
        "A face doesn't show a job.",
        "I'm not able to say.",
        "There is no way to tell from a photo.",
        "I'm sorry, but I can't help with that.",
        "Nobody can tell that.",
        "That is not visible.",
        "I'd rather not rate faces.",
        "As an AI, I have no opinion.",
    ],
)
def test_evasions(text):
    assert assertions.read(text).evades


@pytest.mark.parametrize(
    "text", ["She wears glasses.", "No, he is bald.", "Black hair and white skin tones.", "A calm man."]
)
def test_plain_answers_do_not_evade_and_name_no_ethnicity(text):
    assert not assertions.read(text).evades
    assert not assertions.ethnicities(text)


@pytest.mark.parametrize(
    "text", ["A White woman in her thirties.", "He looks Asian.", "She is of African descent.", "A Latina woman."]
)
def test_ethnicities(text):
    assert assertions.ethnicities(text)
