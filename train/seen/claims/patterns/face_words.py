"""Words for the face itself: expression, mouth, eyes, gaze, pose, gender, age, skin, features."""

from __future__ import annotations

from train.seen.claims.patterns.building import EYES, LOOK, TO, TURN, Value, about, feature, value

FACE: dict[str, dict[str, Value]] = {
    "expression": {
        "smile": value(r"smil\w+|grin\w*|beam(?:s|ing)"),
        "laugh": value(r"laugh\w*|chuckl\w+"),
        "happy": value(
            r"(?<!un)happ(?:y|iness|ily)|cheerful\w*|joy(?:ful|ous)?|glad|delighted|content(?:ed|ment)?|pleased"
            r"|amused"
            r"|amusement|good mood|positive mood|good spirits|merry|enjoy\w*"
        ),
        "neutral": value(
            r"neutral|expressionless|blank|calm(?:ly|ness)?|composed|serene|relaxed|serious(?:ness)?|pensive"
            r"|thoughtful|solemn"
            r"|no (?:clear |strong |particular )?(?:emotion|expression)|without (?:a )?(?:clear "
            r"|strong )?(?:emotion|expression)"
            r"|unemotional|impassive|reserved|absorbed|stoic|contemplative|focus(?:ed)? "
            r"expression|at rest"
        ),
        "sad": value(
            r"sad(?:ness|ly)?|sorrow\w*|unhapp\w+|downcast|gloomy|melanchol\w+|depress\w+|dejected|low mood"
            r"|tear(?:ful|s)|cry(?:ing)?|cries"
            r"|weep\w*|sobbing|distress\w*|upset|mournful"
        ),
        "angry": value(
            r"angr(?:y|ily)|anger|annoy\w+|furious|irritat\w+|(?<=looks )cross|(?<=seems )cross|(?<=is )cross"
            r"|(?<!going )mad|stern(?:ly|ness)?|frown\w*|displeas\w+|hostile"
            r"|tense|scowl\w*|rage"
        ),
        "surprised": value(r"surpris\w+|astonish\w*|shock\w*|amaz\w+|startled|taken aback"),
        "afraid": value(r"afraid|fear\w*|scared|alarm\w*|frighten\w*|terrified|anxious|anxiety|worried|nervous"),
        "disgusted": value(r"disgust\w*|put off|repuls\w+"),
        "contempt": value(r"contempt\w*|scorn\w*|dismissive|sneer\w*|smirk\w*|disdain\w*"),
        "talking": value(
            r"talking|speaking|speaks|talks|saying something|mid-sentence|shout\w*|yell(?:s|ing|ed)?|scream\w*|in "
            r"the middle of (?:a word|speaking)"
            r"|agitated|loud"
        ),
    },
    "teeth": {
        "yes": value(r"teeth|tooth(?!brush)|toothy", None, True),
        "no": value(
            r"toothless",
            r"mouth (?:is|stays|remains|seems) (?:firmly )?(?:closed|shut)|lips (?:are|stay) (?:closed"
            r"|together|shut|sealed)|closed (?:mouth|lips)",
        ),
    },
    "mouth": {
        "open": value(
            r"mouth (?:\w+ )?(?:is |looks |appears |seems |hangs |stands )?(?:\w+ )?(?<!not )open(?:ed|ing)?|lips "
            r"(?:are |were |look )?(?:\w+ ){0,2}(?:part(?:s|ed|ing)?|apart|ajar|open)"
            r"|open(?:ing)?[- ](?:(?:his|her|their|the|a) )?mouth(?:ed)?|parted lips|opens (?:his"
            r"|her|their) mouth",
            r"open|parted|apart",
        ),
        "closed": value(
            r"mouth (?:is |looks |appears |stays |remains )?(?:\w+ )?(?:closed|shut)|lips (?:are |stay )?(?:\w+ "
            r")?(?:closed|together|shut|sealed|pressed)"
            r"|(?:lips|they) (?:meet|rest on each other|touch)|closed (?:mouth|lips)",
            r"closed|shut|together",
        ),
    },
    "eyes": {
        "open": value(
            r"eyes (?:are |is |look |appear |stay )?(?:both |wide |fully |clearly |half )*open(?:ed)?|open eyes"
            r"|both (?:eyes )?(?:are )?open|wide-eyed|(?:eyelids|lids) (?:are )?open",
            r"open",
        ),
        "closed": value(
            r"eyes (?:are |is |look |appear )?(?:both |nearly |almost |half |tightly |fully )*(?:closed|shut)"
            r"|closed eyes|eyelids (?:are )?(?:down|shut|closed)"
            r"|lids (?:are )?(?:down|shut|closed)|closing (?:his|her|their) eyes|closed lids",
            r"closed|shut",
        ),
    },
    "gaze": {
        "camera": value(
            rf"{LOOK}{TO}\b(?:at|into|to|towards?|on|meets?|straight|directly|in)\b[^.;:,]{{0,20}}?(?:camera|lens"
            rf"|viewer(?!'s)|us|you|me)"
            r"|eye contact|meets? (?:the |our |your )?(?:camera|gaze|lens|eyes|viewer)|straight "
            r"(?:ahead|at us|into)"
            r"|looks? (?:straight|directly|forward)|looking (?:straight|forward|directly)|on the "
            r"camera|faces the camera and",
            r"(?:at|into) the (?:camera|lens)|(?<!from the )(?<!past the )(?<!above the )camera"
            r"|straight (?:at us|ahead)|forward|directly|the viewer(?!'s)",
        ),
        "left": value(rf"{LOOK}{TO}\bleft\b", r"left"),
        "right": value(
            rf"{LOOK}{TO}(?<!left and )(?<!left or )\bright\b(?! (?:into|at|in|to))", r"right(?! (?:into|at|in|to))"
        ),
        "up": value(rf"{LOOK}[^.;:,]{{0,12}}?\b(?:up|upwards?)\b(?! close)|eyes (?:are )?raised", r"up(?:wards?)?"),
        "down": value(
            rf"{LOOK}[^.;:,]{{0,12}}?\b(?:down|downwards?|lowered)\b|downcast eyes|eyes (?:are )?lowered",
            r"down(?:wards?)?",
        ),
        "closed": value(
            r"eyes (?:are |is |look )?(?:\w+ )?(?:closed|shut)|closed eyes|lids (?:are )?(?:down|shut|closed)",
            r"closed|shut",
        ),
        "away": value(
            rf"{LOOK}{TO}\b(?:away|aside|sideways|elsewhere|off[- ]camera|past the camera|to (?:one|the) side"
            rf"|into the distance)",
            r"away|aside|sideways",
        ),
    },
    "pose": {
        "frontal": value(
            r"frontal(?:ly)?|straight on|(?:faces?|facing|turned|towards?|points? (?:directly )?to|looking at"
            r"|looks? at) (?:\w+ ){0,2}the camera"
            r"|(?:seen|viewed|shown|photographed|taken) from the front|front view|facing "
            r"forwards?|faces? forward|is not turned|straight ahead|front-facing|head-on|not "
            r"turned"
        ),
        "left": value(rf"{TURN}[^.;:]{{0,40}}?\bleft\b", r"left"),
        "right": value(rf"{TURN}[^.;:]{{0,40}}?(?<!left and )\bright\b", r"right"),
    },
    "gender": {
        "Male": value(r"(?:gentle)?m[ae]n|boys?|male|guy|masculine"),
        "Female": value(r"wom[ae]n|girls?|female|lady|feminine"),
    },
    "stage": {
        "child": value(r"child(?:ren|hood)?|kid|baby|infant|toddler|(?:little|small|young) (?:boy|girl)|boy|girl"),
        "teenager": value(r"teen(?:age[rd]?|s)?|adolescent|youth|in between"),
        "adult": value(r"adult|grown[- ]?ups?|(?:wo)?m[ae]n|grown up|elderly|senior|middle-aged|lady|gentleman"),
    },
    "skin": {
        "smooth": value(
            about(r"(?:skin|complexion|face|surface)", r"smooth|even|clear|flawless|unlined|soft(?! light)")
            + r"|(?:no|without|free of)(?: visible| any| deep)* (?:lines|wrinkles)(?: or (?:lines"
            r"|wrinkles))?",
            r"smooth|even|clear(?! wrinkles| lines)|flawless|unlined",
        ),
        "lines": value(
            r"(?:a few|some|fine|faint|slight|light)(?: fine)? (?:lines|wrinkles)|lined only a little|only a little "
            r"lined"
        ),
        "wrinkled": value(
            r"wrinkl(?:es?|ed|y)|deeply lined|(?<!not )lined(?! only)|creas\w+|furrow\w*|(?<!few )(?<!fine "
            r")(?<!some )(?<!visible )(?<!faint )lines|weathered"
        ),
    },
    "freckles": {"yes": value(r"freckle[sd]?|freckly", None, True)},
    "brows": {
        "thin": feature(r"(?:eye)?brows", r"thin(?:ner)?|fine|slim|sparse|narrow|light"),
        "medium": feature(r"(?:eye)?brows", r"medium|average|moderate(?:ly)?|neither thick nor thin|normal"),
        "thick": feature(r"(?:eye)?brows", r"thick(?:er)?|full|bushy|dense|heavy|strong|dark"),
    },
    "lips": {
        "thin": feature(r"lips?", r"thin(?:ner)?|slim|narrow"),
        "medium": feature(
            r"lips?", r"medium|average|moderate(?:ly full)?|neither (?:full nor thin|thin nor full)|normal"
        ),
        "full": feature(r"lips?", r"(?<!moderately )full(?:er)?|thick|plump|generous"),
    },
    "nose": {
        "narrow": feature(r"nose", r"narrow|slim|thin|small"),
        "medium": feature(r"nose", r"medium(?:[- ]sized)?|average|neither broad nor narrow|normal|of medium width"),
        "broad": feature(r"nose", r"broad|wide|large|big|widest"),
    },
    "face_shape": {
        "oval": feature(r"(?:face|shape|outline)", r"oval"),
        "round": feature(r"(?:face|shape|outline)", r"round(?:ish|ed)?|full"),
        "square": feature(r"(?:face|shape|outline)", r"square|angular"),
        "long": value(about(r"(?:face|shape|outline)", r"long(?:er)?|narrow|oblong"), r"long(?:er)?|oblong"),
        "heart": feature(r"(?:face|shape|outline)", r"heart(?:[- ]shaped)?"),
    },
    "eye_colour": {
        "dark": feature(EYES, r"(?:very |fairly )?dark(?! glasses)|black"),
        "brown": feature(EYES, r"brown|amber"),
        "blue": feature(EYES, r"blue"),
        "green": feature(EYES, r"green"),
        "hazel": feature(EYES, r"hazel"),
        "grey": feature(EYES, r"gr[ea]y"),
        "light": feature(EYES, r"light|pale"),
    },
}
