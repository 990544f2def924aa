"""Words for the picture: light, background, sharpness, colour, how many people."""

from __future__ import annotations

from train.seen.claims.patterns.building import Value, about, value

PICTURE: dict[str, dict[str, Value]] = {
    "light": {
        "dim": value(
            about(
                r"(?:light|lighting|picture|photo|image|exposure|scene|illumination|face|it)",
                r"dim(?:ly)?|dark(?! hair| background| eyes)|low|poor(?:ly)?|gloomy|underexposed|too dark",
            )
            + r"|dim(?:ly lit)?|underexposed|low light|poorly lit|gloom",
            r"dark|dim|low|underexposed",
        ),
        "bright": value(
            about(
                r"(?:light|lighting|picture|photo|image|exposure|scene|illumination|it)",
                r"bright(?:ly)?(?: enough)?|well[- ]lit|good|strong|overexposed|well exposed|natural",
            )
            + r"|bright(?:ly lit)?|well[- ]lit|well exposed|overexposed|daylight|sunlight",
            r"bright(?: enough)?|good|well lit",
        ),
        "even": value(
            about(
                r"(?:light|lighting|illumination|it|sides)",
                r"even(?:ly)?|soft(?:ly)?|balanced|diffuse|uniform|frontal|alike",
            )
            + r"|evenly|even light|soft light|lit alike|balanced|neither side|from the front",
            r"even(?:ly)?|soft|balanced",
        ),
        "side-left": value(
            r"(?:light|lit|bright\w*|stronger|sides?|illuminat\w+)[^.;:]{0,40}?\bleft\b|left(?: "
            r"side)?[^.;:]{0,40}?bright\w*",
            r"left",
        ),
        "side-right": value(
            r"(?:light|lit|bright\w*|stronger|sides?|illuminat\w+)[^.;:]{0,40}?(?<!left and )\bright\b|right(?: "
            r"side)?[^.;:]{0,40}?bright\w*",
            r"right",
        ),
        "harsh": value(
            about(r"(?:light|lighting|flash|contrast)", r"harsh|hard|strong contrast|contrasty")
            + r"|strong contrast|harsh(?:ly)?",
            r"harsh|hard",
        ),
    },
    "background": {
        "plain": value(r"plain|empty|blank|uniform|solid|simple|studio", r"^nothing"),
        "wall": value(r"walls?|backdrop|curtains?|bricks?"),
        "light": value(
            about(
                r"(?:background|backdrop|wall|surface)",
                r"light|white|pale|bright|cream|beige|grey|gray|off-white|whitish",
            ),
            r"light|white|pale|bright",
        ),
        "dark": value(
            about(r"(?:background|backdrop|wall|surface)", r"dark|black|dim|brown|navy") + r"|darkness|blackness",
            r"dark|black",
        ),
        "coloured": value(
            about(
                r"(?:background|backdrop|wall|surface)",
                r"blue|red|green|yellow|orange|purple|pink|teal|turquoise|colou?r(?:ed|ful)?",
            ),
            r"blue|red|green|yellow|orange|purple|pink|colou?red",
        ),
        "blurred": value(
            r"(?:blurr?\w*|out of focus|out-of-focus|indistinct|hazy|soft|unfocused)[^.;]{0,25}(?:background"
            r"|backdrop|scene|wall|behind)?|background[^.;]{0,20}(?:blurr?\w*|out of focus|indistinct)",
            r"blurr?\w*",
        ),
        "indoor": value(r"indoors?|inside|room|interior|home|office|house|shelves|building"),
        "outdoor": value(
            r"outdoors?|outside|trees?|greenery|foliage|grass|sky|street|garden|nature|leaves|park|sea|beach|open "
            r"air|water"
        ),
    },
    "sharpness": {
        "sharp": value(
            r"(?<!too )(?<!neither )(?<!neither very )(?<!neither really )sharp(?:ly|ness is good| enough)?|in "
            r"focus|crisp(?:ly)?|clear(?:ly)? (?:picture|photo|image"
            r"|detail\w*)|(?<!lacks )(?<!no )(?<!shows no )fine detail(?:s)?(?! (?:is|are|gets?) (?:limited|lost))"
            r"|high[- ]resolution|high[- ]quality|good quality|detailed|(?:photo|picture|image|it|quality) is "
            r"(?:very |quite )?(?:clear|good)",
            r"good|clear|fine(?! detail)",
        ),
        "blurred": value(
            r"blurr?(?:ed|y|iness)?|out of focus|unsharp|lacks? (?:fine )?(?:detail|sharpness)|lack of sharpness"
            r"|fuzzy|pixelated|low[- ]resolution|(?:is|rather|somewhat|bit|too) soft|soft and|poor quality|low "
            r"quality|grainy|unclear image",
            r"poor|low|limited|bad|soft",
        ),
        "middle": value(
            r"(?:sharpness|quality|detail|focus|picture|photo|image|it) (?:is|are|looks?) (?:\w+ )?(?:moderate"
            r"|medium|fair"
            r"|average|acceptable|decent|middling)|neither (?:really |very |clearly )?sharp|moderate "
            r"(?:sharpness|detail)",
            r"moderate|middling|fair|acceptable|average|medium|decent",
        ),
    },
    "colour": {
        "grey": value(
            r"black[- ]and[- ]white|black & white|b&w|b/w|monochrome|gr[ea]yscale|no colou?rs?|without colou?rs?"
            r"|lacks colou?r|(?<!near-)(?<!nearly )(?<!almost )colou?rless"
        ),
        "colour": value(
            r"(?<!no )(?<!without )(?<!lacks )(?:in |a |full |has |have |of )(?:full )?colou?rs?(?:ed|ful)?(?! of)"
            r"|colou?r (?:photo|picture|image)|colou?rful|colou?red",
            r"colou?r",
        ),
    },
    "people": {
        "one": value(
            r"(?:just |only )?(?:one|1|a single|single) (?:other )?(?:person|face|human|individual|people|man|woman"
            r"|boy|girl|child|adult)|alone|nobody else|no one else|not more than one|(?:no|not) other (?:person"
            r"|people|face)",
            r"(?:just |only )?(?:one|1)|a (?:man|woman|person|boy|girl|child)",
        ),
        "more": value(
            r"(?:two|three|four|several|many|2|3|4) (?:people|persons|faces|men|women)|another person|more than one",
            r"two|three|four|several|many",
        ),
    },
}
