"""Every sentence of the page that more than one file needs, in one place."""

TITLE = "FaceLLM"
PAPER = "https://arxiv.org/abs/2507.10300"
CODE = "https://github.com/idiap/facellm"  # of the paper

PHOTO_FIRST = (
    "Choose a photo first: drop one, take one, or click an example (after half an hour without use it is forgotten)."
)
FORGOTTEN = "This photo was forgotten after a while without use: choose it again."
NO_FACE = (
    "No face was found in this photo, so answers about a person would be made up. "
    "Choose another photo, or press “Ask anyway”."
)
SECOND_FIRST = "Choose the second photo first: it stands beside the one that all tabs share."
NO_SECOND_FACE = (
    "No face was found in the second photo, so answers about a person would be made up. Choose another one."
)
QUESTION_FIRST = "Write a question first."
NEW_PHOTO = "New photo, new conversation."
NEW_FACE = "Another face, new conversation."
ONE_MODEL = "Only one model is loaded: start with --adapter to compare."
QUEUE_FULL = "Too many people are waiting for the model right now, or the connection broke: try again in a moment."
STOPPED = "Stopped."
BROKEN = "The model gave no usable answer. Try again, or ask in other words."
BUSY = "An answer is still being written: stop it first, or wait for its end."
STOPPING = "Stopping…"
WAITING = "Waiting for the model…"
PHOTO_HINT = "JPEG, PNG, WebP, HEIC or GIF (first frame), up to 20 MB"
INTERNAL = (
    "Something went wrong on our side (reference {reference}; the details are in the server's log). "
    "Try again; your photo is still here."
)
OUT_OF_MEMORY = "The model ran out of memory on this request. Its cache was freed: try again, with fewer new tokens."

ESTIMATES = "Estimates from one picture, not facts about a person; not for identifying or deciding about anyone."

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

# Questions to start with, in plain words: an attribute's key -> what the visitor says. The model is asked the question
# that it was trained on.
STARTERS = {
    "detail": "Describe the photo",
    "expression": "Smiling or serious?",
    "demographic": "How old, and why?",
    "structure": "What shape is the face?",
    "skin": "What does the skin look like?",
    "pose": "Where is the head turned?",
    "lighting": "How good is the photo?",
    "forensic": "Does anything look odd?",
}

# The same for a model that was measured with `python -m train chat`: an intent -> what the visitor says and the model
# is asked. Only intents are offered that it answers well, the first of them.
MEASURED_STARTERS = {
    "describe": "Describe the photo",
    "smiling": "Is this person smiling?",
    "glasses": "Is this person wearing glasses?",
    "age_why": "How old, and why?",
    "hair": "What does the hair look like?",
    "mood_why": "What is the mood, and why?",
    "beard": "Is there a beard?",
    "describe_blind": "Describe it for a blind person",
    "looking_at_camera": "Looking at the camera?",
    "teeth": "Are teeth showing?",
    "makeup": "Is there make-up?",
    "background": "What is in the background?",
}
