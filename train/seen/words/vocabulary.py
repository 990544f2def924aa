"""The words from which phrases about a face are made: one table for each fact, value -> phrases."""

from __future__ import annotations

HAIR = {"dark": "dark", "brown": "brown", "blond": "blond", "red": "red", "grey": "grey"}
EYEWEAR = {"glasses": ("glasses", "eyeglasses"), "sunglasses": ("sunglasses", "dark sunglasses")}
HATS = {
    "hat": ("a hat",),
    "helmet": ("a helmet",),
    "cap": ("a cap",),
    "headscarf": ("a headscarf",),
    "turban": ("a turban",),
    "headband": ("a headband",),
    "hood": ("a hood",),
    "other": ("something on the head",),
}
BEARDS = {
    "stubble": ("stubble", "some stubble", "short stubble"),
    "moustache": ("a moustache",),
    "goatee": ("a goatee", "a small beard around the mouth and chin"),
    "beard": ("a beard", "a full beard"),
}
COVERS = {"hand": ("a hand",), "microphone": ("a microphone",), "mask": ("a mask",), "object": ("an object",)}
PAINT = {
    "light": ("light make-up", "subtle make-up", "a little make-up"),
    "strong": ("strong make-up", "heavy make-up", "bold make-up"),
}
# Expression -> (adjectives, noun phrases, what shows it).
FEELINGS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "neutral": (
        ("neutral", "calm", "composed", "quiet and neutral"),
        ("a neutral expression", "a calm, neutral expression", "a composed look without a clear emotion"),
        ("the mouth is at rest", "there is no smile and no frown", "brows and mouth are relaxed"),
    ),
    "pensive": (
        ("pensive", "thoughtful", "absorbed in thought"),
        ("a pensive expression", "a thoughtful, neutral expression"),
        ("the gaze is quiet and the mouth does not smile", "there is no smile, and the eyes seem turned inward"),
    ),
    "slight-smile": (
        ("mildly pleased", "quietly content", "friendly and calm", "gently amused"),
        ("a slight smile", "a faint, friendly smile", "the trace of a smile"),
        ("the corners of the mouth are slightly lifted", "there is a faint smile on the lips"),
    ),
    "smile": (
        ("happy", "cheerful", "glad", "friendly and cheerful"),
        ("a happy smile", "a clear smile", "a cheerful expression"),
        ("{they} is smiling", "the corners of the mouth are pulled up in a smile", "the mouth smiles"),
    ),
    "laugh": (
        ("very happy", "amused", "joyful", "full of joy"),
        ("an open laugh", "a joyful laugh"),
        ("{they} is laughing with an open mouth", "the mouth is open in a laugh"),
    ),
    "surprised": (
        ("surprised", "astonished", "taken by surprise"),
        ("surprise", "a surprised expression"),
        ("the eyes are wide and the brows raised", "the brows go up and the eyes are wide"),
    ),
    "sad": (
        ("sad", "downcast", "unhappy"),
        ("sadness", "a sad expression"),
        ("the corners of the mouth point down", "mouth and eyes droop"),
    ),
    "crying": (
        ("very sad, close to tears", "tearful", "in distress"),
        ("a tearful expression", "an expression close to tears"),
        ("the face is twisted as in crying", "the mouth is pulled wide as in crying"),
    ),
    "angry": (
        ("angry", "cross", "annoyed"),
        ("anger", "an angry expression"),
        ("the brows are drawn together", "the brows are lowered and the mouth is hard"),
    ),
    "frown": (
        ("stern", "serious", "tense and serious"),
        ("a frown", "a stern, frowning expression"),
        ("the brows are drawn together", "the brow is knitted and there is no smile"),
    ),
    "afraid": (
        ("afraid", "alarmed", "scared"),
        ("fear", "an alarmed expression"),
        ("the eyes are wide and the mouth is tense", "brows and lids are raised in alarm"),
    ),
    "disgusted": (
        ("disgusted", "put off by something"),
        ("disgust", "a disgusted expression"),
        ("the nose is wrinkled and the lip raised", "nose and upper lip are pulled up"),
    ),
    "contempt": (
        ("contemptuous", "scornful", "dismissive"),
        ("contempt", "a scornful expression"),
        ("one corner of the mouth is drawn aside", "the mouth is pulled to one side"),
    ),
    "shouting": (
        ("agitated, with the mouth wide open", "loud and excited"),
        ("a wide-open, shouting mouth", "what looks like a shout"),
        ("the mouth is wide open as in a shout", "the mouth is torn open"),
    ),
    "talking": (
        ("engaged in talking", "occupied with talking"),
        ("the look of somebody talking", "a mouth in the middle of a word"),
        ("the lips are parted as if speaking", "the mouth is open as in the middle of a word"),
    ),
}
RACES = {
    "White": ("White",),
    "Black": ("Black",),
    "Asian": ("Asian", "East Asian"),
    "Indian": ("Indian", "South Asian"),
}
LIGHT = {
    "even": (
        ("even", "soft and even", "even and frontal"),
        ("even light", "soft, even light", "even light from the front"),
    ),
    "bright": (("bright", "bright and frontal"), ("bright light", "bright light from the front")),
    "side-left": (("stronger from the viewer's left",), ("light from the viewer's left", "side light from the left")),
    "side-right": (
        ("stronger from the viewer's right",),
        ("light from the viewer's right", "side light from the right"),
    ),
    "harsh": (("harsh", "hard, with strong contrast"), ("harsh light", "hard light with strong contrast")),
    "dim": (("dim", "low"), ("dim light", "low light")),
}
BACKGROUNDS = {
    "plain-light": (
        "a plain light background",
        "a plain, pale background",
        "a light, empty background",
        "a pale backdrop",
    ),
    "plain-dark": ("a plain dark background", "a dark, empty background", "a plain, dark backdrop"),
    "plain-coloured": ("a plain coloured background", "a plain, coloured backdrop"),
    "blurred": ("a blurred background", "a background that is out of focus"),
    "indoor": ("an indoor background", "what looks like a room"),
    "outdoor": ("an outdoor background", "an outdoor scene"),
}
DECADES = {20: "twenties", 30: "thirties", 40: "forties", 50: "fifties", 60: "sixties", 70: "seventies", 80: "eighties"}
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
