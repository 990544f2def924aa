"""Every sentence of the page that more than one file needs, in one place.

Input: nothing. What this file does not know: how anything is shown.
"""

TITLE = "FaceLLM"
TAGLINE = "Ask about a face. Compare with the base model. See how sure it is."

CONSENT = (
    "Answers are <strong>estimates from one picture, not facts about a person</strong>. Not for identifying anyone, "
    "not for decisions about people. Use a photo only with the consent of the person in it. "
    "Photos are held in memory while you use them and are not kept."
)
PHOTO_FIRST = (
    "Choose a photo first: drop one, take one, or click an example (after half an hour without use it is forgotten)."
)
QUESTION_FIRST = "Write a question first."
NEW_PHOTO = "New photo, new conversation."
NEW_FACE = "Another face, new conversation."
ONE_MODEL = "Only one model is loaded: start with --adapter to compare."
QUEUE_FULL = "Too many people are waiting for the model right now, or the connection broke: try again in a moment."
STOPPED = "Stopped."
STOPPING = "Stopping…"
WAITING = "Waiting for the model…"
PHOTO_HINT = "JPEG, PNG, WebP, HEIC or GIF (first frame), up to 20 MB"
INTERNAL = (
    "Something went wrong on our side (reference {reference}; the details are in the server's log). "
    "Try again; your photo is still here."
)
OUT_OF_MEMORY = "The model ran out of memory on this request. Its cache was freed: try again, with fewer new tokens."

VARIANTS = {"facellm": "FaceLLM", "base": "Base model"}

NOT_FOR = (
    "Identifying a person, or confirming who somebody is.",
    "Decisions about people: hiring, credit, insurance, policing, border control, access, medical care.",
    "Inferring ethnicity, health, character, honesty or emotion as if it were a fact about the person.",
    "Photos of people who have not agreed, and photos of children without their guardians' consent.",
)

CITATION = """@article{facellm2025,
  title   = {FaceLLM: A Multimodal Large Language Model for Face Understanding},
  author  = {Otroshi Shahreza, Hatef and Marcel, S{\\'e}bastien},
  journal = {arXiv preprint arXiv:2507.10300},
  year    = {2025}
}"""
