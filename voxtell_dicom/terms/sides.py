"""The side of the body that a prompt tells: "" where it tells none, or where the words do not decide where it lies.

A wrong side would hold a result that is right. So nothing is told of what lies at the midline or across it (heart and
great vessels, lobes of the liver, airways, parts of vertebrae), of what moves or turns over it (ovaries, bowel, hands
and feet, a transplant, the nose), and of "left" and "right" that mean no side ("left after surgery").
"""

from __future__ import annotations

import re

_NOT_TOLD = re.compile(
    r"\b(?:"
    # the heart, and vessels that cross the midline or begin at it
    r"heart|cardi\w+|\w*atri\w+|\w*ventric\w+|auric\w+|appendages?|coronary|circumflex|descending|marginal|septal|cusps?"
    r"|valves?|bundle|aort\w+|\w*cardi(?:um|al)|pulmonary (?:artery|arteries|veins?|trunk)|renal veins?|brachiocephalic"
    r"|innominate|portal|gastric|gastro\w+|(?:col|ile|jejun)ic|hemiazygos"
    # lobes and segments that say where in the organ
    r"|liver|hemiliver|hepat\w+|(?:left|right) (?:lobes?|segments?|(?:lateral|medial|anterior|posterior) se\w+)"
    # airways, spine, diaphragm's crura: deviation and scoliosis are larger than their distance from the midline
    r"|\w*trache\w+|\w*bronch\w+|crus|crura|\w*vertebra\w*|spine|spinal|pedicles?|facets?|laminae?|foram\w+|roots?|discs?"
    r"|[ctls]\d+"
    # the face and the throat near the midline, far in front of the axis about which a head is turned
    r"|nasal|nose|nostrils?|turbinates?|optic|(?:medial|lateral|superior|inferior) (?:rectus|oblique)|\w*ethmoid\w*"
    r"|sphenoid\w*|frontal sinus\w*|incisors?|tooth|teeth|tongue|lips?|palat\w+|tonsil\w*|vocal|\w*laryn\w+"
    r"|\w*pharyn\w+|aryten\w+|\w*hyoid|\w*thyroid muscle"
    # what moves across, or may be anywhere
    r"|colon|sigmoid|bowel|intestin\w+"
    r"|ovar\w+|adnex\w+|fallopian|tubes?|uter\w+|test\w+|scrot\w+|hernias?|transplant\w*|graft\w*|allograft|ectopic"
    r"|arms?|forearms?|elbows?|hands?|wrists?|fingers?|thumbs?|radi(?:us|i)|ulnae?|(?:meta)?carp\w+|phalan\w+"
    r"|foot|feet|ankles?|toes?|(?:meta)?tars\w+|calcane\w+|talus"
    # left and right of something, towards it, left over, right behind
    r"|(?:left|right) (?:of|to|from|half|side of)|(?:to|from|towards?) the (?:left|right)|half"
    r"|left (?:over|after|behind|out|alone|in place|by|following)|remaining left"
    r"|right (?:angles?|next|behind|above|below|beneath|in front|after|before|at)"
    r")\b"
)
_LIMB = re.compile(
    r"\b(?:thighs?|fem(?:ur|urs|ora|oral)|knees?|patell\w+|quadriceps|hamstrings?|sartorius|menisc\w+|tibia\w*|fibula\w*"
    r"|cal(?:f|ves)|legs?|shoulders?|humer\w+|deltoid|supraspinatus|infraspinatus|rotator cuff|hips?|acetabul\w+)\b"
)
_LONG = {"lt": "left", "rt": "right"}
_LETTERS = {"l": "left", "r": "right"}


def plain(words: str) -> str:
    """Small letters, single blanks, "kidney_l", "Lt kidney" and "kidney (R)" with their side in full."""
    found = [_LONG.get(word, word) for word in re.findall(r"[^\W_]+", words.casefold())]
    if len(found) > 1:
        for at, beside in ((0, 1), (-1, -2)):
            if not found[beside].isdigit():  # not "L 5"
                found[at] = _LETTERS.get(found[at], found[at])
    return " ".join(found)


def side_of(words: str) -> str:
    """ "left" or "right" where a prompt tells on which side of the midline the structure lies, else ""."""
    text = plain(words)
    sides = {"left", "right"} & {*text.split()}
    return sides.pop() if len(sides) == 1 and not _NOT_TOLD.search(text) else ""


def of_a_limb(words: str) -> bool:
    """Whether it is a part of a limb: a picture of one limb has a middle that is not the body's."""
    return bool(_LIMB.search(plain(words)))
