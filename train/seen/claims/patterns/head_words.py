"""Words for what is on and around a face: glasses, headwear, make-up, jewellery, beards, hair."""

from __future__ import annotations

from train.seen.claims.patterns.building import HAIR, Value, about, feature, value

_DARK = (
    r"(?:jet[- ])?black|dark(?:est)?(?: brown|-brown|ish)?(?! (?:blond|red|grey|gray|glasses|eyes))|brunette|raven"
    r"|brown-black|brown or black"
)
_BROWN = (
    r"(?<!dark )(?<!dark-)(?<!reddish )(?<!reddish-)(?:light[- ]|mid[- ]|golden[- ]|chestnut[- ])?brown(?!-black| "
    r"or black)|chestnut"
)
_BLOND = r"(?:dark |light |ash[- ]|golden |strawberry )?blonde?|fair|golden|flaxen"
_RED = r"red(?:dish)?(?:[- ]brown)?|ginger|auburn|copper\w*"
_GREY = r"(?:dark |light |silver[- ])?gr[ea]y(?:ing|ish)?|white|silver(?:y)?|salt[- ]and[- ]pepper"
_NOT_HAIR = r"(?! (?:background|backdrop|shirt|skin|suit|jacket|collar|top|dress|eyes|clothing|photo|picture|wall))"


def _hair(colour: str) -> Value:
    return value(about(HAIR, colour), rf"(?:{colour}){_NOT_HAIR}")


HEAD: dict[str, dict[str, Value]] = {
    "glasses": {
        "glasses": value(
            r"(?<!sun)(?<!dark )(?<!tinted )(?<!magnifying )(?:eye)?gl?asses|spectacles|specs|eyewear|bespectacled"
            r"|(?<!dark )(?<!tinted )(?<!any )lenses",
            None,
            True,
        ),
        "sunglasses": value(
            r"sun ?glasses|shades(?! (?:the|his|her|their|over|of)\b)|dark glasses|(?:dark|tinted) lenses"
        ),
        "none": value(r"eyes? (?:is|are|look) (?:uncovered|bare|free)"),
    },
    "headwear": {
        "yes": value(
            r"hats?|caps?|beanie|bonnet|headscarf|hijab|veil|turban|hood|helmet|headband|headwear|headgear|head "
            r"?covering"
            r"|something on (?:(?:his|her|their|the)|the person's|this person's) head"
            r"|(?:kerchief|bandana)|head is (?!not)(?:\w+ )?covered",
            None,
            True,
        ),
        "none": value(
            r"head (?:is|looks|appears|seems) (?:bare|uncovered|free)|bare-?headed|bare head|nothing (?:is )?on "
            r"(?:his|her|their|the)(?: person's)? head|nothing (?:covers|is covering) (?:his|her|their|the)(?: "
            r"person's)? head"
            r"|wears nothing on"
        ),
    },
    "makeup": {
        "light": value(
            r"(?:light|subtle|discreet|natural-looking|minimal|little|some|touch of|soft) make-?up",
            r"light|subtle|discreet|only a little|soft|minimal",
        ),
        "strong": value(
            r"(?:strong|heavy|bold|dramatic|thick|a lot of|full) make-?up|make-?up (?:is|looks) (?:strong|heavy"
            r"|bold)",
            r"strong|heavy|bold|a lot",
        ),
        "yes": value(
            r"make-?up|make up(?! (?:of|her|his))|lipstick|eye-?liner|mascara|cosmetics|eye-?shadow|kohl|rouge"
            r"|blusher"
            r"|made[- ]up",
            None,
            True,
        ),
        "none": value(r"bare(?:[- ]faced| face)|face (?:looks|is) (?:\w+ )?(?:bare|natural|unpainted)|unpainted"),
    },
    "earrings": {
        "yes": value(r"ear-?rings?|ear jewell?e?ry|ear studs?|studs?|hoops?", None, True),
        "none": value(r"ears? (?:is|are) (?:bare|empty|free)"),
    },
    "covering": {
        "yes": value(
            r"(?:covers|hides|conceals|obscures|blocks|is covering|is hiding|in front of|in the way of) "
            r"(?:part of |some of |most of )?(?:(?:his|her|their|the|a) )?(?:person's )?(?:\w+ )?(?:face|mouth"
            r"|chin|cheek|eyes|nose|way)"
            r"|(?:is|are) (?:partly |partially |slightly )?(?:hidden|covered|obscured|obstructed|blocked)"
            r"|is in the way|hand (?:is )?(?:on|at|near|over|before|to) (?:(?:his|her|their|the) )?(?:face"
            r"|mouth|chin|cheek)",
            None,
            True,
        ),
        "none": value(
            r"(?:face|it) (?:is|looks|remains) (?:\w+ )?(?:free|uncovered|unobstructed|visible)|face is not covered"
            r"|nothing (?:covers|hides|is in|is covering|obscures|blocks)"
            r"|(?:all|mouth) (?:\w+ )?(?:are )?(?:all )?(?:visible|uncovered|free)|(?:fully|whole|entire|all of "
            r"the) (?:face )?(?:is )?visible"
            r"|uncovered|unobstructed"
        ),
    },
    "facial_hair": {
        "beard": value(r"beard(?:ed)?|full beard", None),
        "goatee": value(r"goatees?|small beard|chin beard"),
        "moustache": value(r"mou?stached?s?|mustaches?"),
        "stubble": value(r"stubbl\w+|unshaven|five o'clock shadow|designer stubble"),
        "some": value(r"facial hair|whiskers|hair on (?:his|her|their|the) (?:face|chin|lip|upper lip)", None, True),
        "none": value(
            r"clean(?:ly)?[- ]?shaved?n?|(?<!head )shaven(?!-headed| head| scalp| skull)"
            r"|(?:face|chin|cheeks?|upper lip|lip|jaw)(?: and [\w ]+?)? (?:is|are|looks?) "
            r"(?:freshly |smoothly )?(?:shaved|bare|hairless|smooth|free of (?:any )?hair)|hairless|beardless",
            r"shaved|smooth",
        ),
    },
    "hair_colour": {
        "dark": _hair(_DARK),
        "brown": _hair(_BROWN),
        "blond": _hair(_BLOND),
        "red": _hair(_RED),
        "grey": _hair(_GREY),
        "none": value(r"no hair colou?r|(?:has|with) no hair", r"no hair|hardly any hair|bald\w*"),
    },
    "hair_length": {
        "bald": value(
            r"bald(?:ing|ness)?|shaved? (?:head|scalp)|(?:hair|head|scalp) (?:is|looks|appears) (?:nearly "
            r"|almost |completely |very |closely )*"
            r"(?:shaved|shaven|bare|bald|closely cropped)(?: very short| off)?"
            r"|hardly any hair|almost no hair|(?:has|with|there is) no hair|receding|thinning|shaved very short"
            r"|shaved or closely"
            r"|lost (?:his|her|their) hair|hairless",
            r"shaved|bare|no hair(?: at all)?",
        ),
        "short": value(
            about(HAIR, r"short(?:er)?|cropped|close-cropped|short-cropped")
            + r"|cropped short|cut short|wears? (?:it|his hair|her hair|their hair) (?:quite |very "
            r")?short|crew cut|buzz cut|pixie cut",
            r"short|cropped",
        ),
        "medium": value(
            about(HAIR, r"medium(?:[- ]length|[- ]long)?|shoulder-length|mid-length|of medium length|chin-length")
            + r"|medium length",
            r"medium|shoulder-length|mid-length",
        ),
        "long": value(
            about(HAIR, r"long(?:er)?") + r"|wears? (?:it|his hair|her hair|their hair) long|ponytail|long-haired"
            r"|past (?:his|her|their|the) shoulders|braids?|plaits?",
            r"long|tied|pulled back|drawn back",
        ),
    },
    "hair_texture": {
        "straight": feature(HAIR, r"straight"),
        "wavy": value(about(HAIR, r"wavy") + r"|waves|wavy", r"wavy|waves"),
        "curly": value(
            about(HAIR, r"curly|coily|coiled|frizzy|kinky|tightly curled|curled") + r"|curls?|curly|afro|ringlets",
            r"curly|curls|coily|coiled|frizzy",
        ),
    },
}
