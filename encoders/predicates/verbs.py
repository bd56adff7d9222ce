"""Finds and inflects the finite verb of a simple English statement.

Only what denials and questions of short statements about states need. Words are lower case.
"""

from __future__ import annotations

import re

BE = ('is', 'are', 'was', 'were')
DO = ('does', 'do', 'did')
HAVE = ('has', 'have', 'had')
MODALS = ('can', 'could', 'will', 'would', 'may', 'might', 'must', 'should')
AUXILIARIES = (*BE, *DO, *HAVE, *MODALS)
ARTICLES = ('the', 'a', 'an')
DETERMINERS = (
    *ARTICLES, 'some', 'any', 'no', 'all', 'every', 'each', 'both', 'its', 'his', 'her', 'their',
    'my', 'your', 'our', 'this', 'that', 'these', 'those', 'another', 'one', 'two', 'three',
)  # fmt: skip
PRONOUNS = (
    'something', 'somebody', 'someone', 'anything', 'anybody', 'anyone', 'everything', 'everybody',
    'everyone', 'nothing', 'nobody', 'it', 'he', 'she', 'they', 'we', 'you', 'i', 'there', 'one',
)  # fmt: skip
PREPOSITIONS = (
    'in', 'on', 'at', 'inside', 'outside', 'into', 'onto', 'upon', 'within', 'under', 'beneath',
    'below', 'above', 'over', 'near', 'next', 'beside', 'by', 'behind', 'between', 'around',
    'against', 'with', 'without', 'from', 'to', 'off', 'up', 'down', 'out', 'away', 'through',
    'atop', 'among', 'along', 'close', 'far', 'toward', 'towards', 'across', 'beyond', 'as',
    'elsewhere', 'somewhere', 'nowhere', 'home', 'apart',
)  # fmt: skip
# Past tense of irregular verbs.
IRREGULAR = {
    'have': 'had', 'hold': 'held', 'fall': 'fell', 'put': 'put', 'hit': 'hit', 'shut': 'shut',
    'set': 'set', 'stand': 'stood', 'sit': 'sat', 'lie': 'lay', 'lay': 'laid', 'hang': 'hung',
    'keep': 'kept', 'leave': 'left', 'lose': 'lost', 'take': 'took', 'give': 'gave',
    'come': 'came', 'go': 'went', 'catch': 'caught', 'stick': 'stuck', 'swing': 'swung',
    'slide': 'slid', 'feel': 'felt', 'meet': 'met', 'make': 'made', 'find': 'found',
    'see': 'saw', 'let': 'let', 'get': 'got', 'rise': 'rose', 'run': 'ran', 'break': 'broke',
    'begin': 'began', 'bear': 'bore', 'throw': 'threw', 'bring': 'brought', 'sink': 'sank',
    'burn': 'burned', 'spin': 'spun', 'freeze': 'froze', 'shake': 'shook', 'do': 'did',
    'know': 'knew', 'say': 'said', 'tell': 'told', 'think': 'thought', 'become': 'became',
}  # fmt: skip
_REGULAR = (
    'open', 'close', 'grasp', 'grip', 'lift', 'raise', 'lower', 'drop', 'touch', 'press', 'push',
    'pull', 'turn', 'switch', 'carry', 'contain', 'support', 'rest', 'stay', 'remain', 'slip',
    'slam', 'bang', 'click', 'lock', 'unlock', 'pick', 'place', 'move', 'reach', 'release',
    'grab', 'clutch', 'squeeze', 'seize', 'clamp', 'collide', 'brush', 'bump', 'land', 'crash',
    'tumble', 'plunge', 'glow', 'radiate', 'heat', 'cool', 'boil', 'cook', 'work', 'start',
    'stop', 'point', 'hover', 'float', 'dangle', 'lean', 'cover', 'enclose', 'surround', 'miss',
    'avoid', 'approach', 'separate', 'lack', 'fill', 'complete', 'succeed', 'finish', 'glide',
    'jut', 'protrude', 'gape', 'hide', 'need', 'want', 'use', 'seem', 'look', 'appear', 'flow',
    'smell', 'sound', 'beep', 'ring', 'rattle', 'vibrate', 'rotate', 'roll', 'tilt', 'tip',
    'bounce', 'latch', 'unlatch', 'store', 'stack', 'wrap', 'attach', 'detach', 'blink',
    'operate', 'ignite', 'cradle', 'occupy', 'balance', 'topple', 'descend', 'ascend', 'clasp',
    'end', 'fulfil', 'project', 'serve', 'skid', 'snap', 'smash', 'resound', 'extinguish', 'warm',
    'empty', 'transport', 'steer', 'block', 'bury', 'dip', 'spill', 'pour', 'bend', 'bulge',
)  # fmt: skip
# Participles that are neither regular nor equal to the past tense.
PARTICIPLES = (
    'been',
    'fallen',
    'taken',
    'given',
    'come',
    'gone',
    'risen',
    'run',
    'broken',
    'begun',
    'borne',
    'thrown',
    'sunk',
    'frozen',
    'shaken',
    'done',
    'drawn',
    'seen',
    'left',
    'lain',
    'become',
)
_FORMS: dict[str, tuple[str, str]] = {}


def third_person(base: str) -> str:
    """Return the third person singular of a verb: `holds` for `hold`."""
    if base == 'have':
        return 'has'
    if re.search(r'(?:s|x|z|ch|sh|[^aeiou]o)$|^(?:go|do)$', base):
        return f'{base}es'
    return f'{base[:-1]}ies' if re.search(r'[^aeiou]y$', base) else f'{base}s'


def past(base: str) -> str:
    """Return the past tense of a verb: `held` for `hold`."""
    if base in IRREGULAR:
        return IRREGULAR[base]
    if base.endswith('e'):
        return f'{base}d'
    if re.search(r'[^aeiou]y$', base):
        return f'{base[:-1]}ied'
    if re.fullmatch(r'(?:[^aeiou]|qu)*[aeiou][^aeiouwxy]', base):
        return f'{base}{base[-1]}ed'
    return f'{base}ed'


for _base in (*_REGULAR, *IRREGULAR):
    _FORMS[third_person(_base)] = (_base, 'does')
    _FORMS.setdefault(past(_base), (_base, 'did'))


def is_plural(noun: str) -> bool:
    """Return whether a noun looks like a plural."""
    return noun in ('people', 'both', 'fingers') or bool(re.search(r'[^su]s$', noun))


def is_base(word: str) -> bool:
    """Return whether a word is the base form of a known verb."""
    return word in IRREGULAR or word in _REGULAR


def base_form(words: list[str], at: int) -> tuple[str, str] | None:
    """Return base form and auxiliary (`does`, `do`, `did`) of a verb, None if it is none.

    Args:
        words: Words of the statement.
        at: Index of the word.
    """
    word, before = words[at], words[:at]
    if word in _FORMS:
        return _FORMS[word]
    has_many = 'and' in before or any(map(is_plural, before))
    if has_many and is_base(word):
        return word, 'do'
    following = words[at + 1] if at + 1 < len(words) else ''
    is_followed = following in (*DETERMINERS, *PREPOSITIONS, *PRONOUNS) or not following
    return None if has_many or not is_followed else _guessed_base(word)


def _guessed_base(word: str) -> tuple[str, str] | None:
    """Base form and auxiliary of what looks like an unknown verb: "clunked", "refuses"."""
    if re.search(r'(?:ss|x|zz|ch|sh)es$', word):
        return word[:-2], 'does'
    if len(word) > 3 and is_plural(word):
        return (f'{word[:-3]}y' if word.endswith('ies') else word[:-1]), 'does'
    if len(word) > 4 and word.endswith('ed'):
        stem = word[:-2]
        is_mute = re.search(r'(?:[vcszu]|[^aeioul]l)$', stem) and not re.search('(?:ss|zz)$', stem)
        for base in (stem[:-1], f'{stem}e' if is_mute else stem):
            if past(base) == word:
                return base, 'did'
    return None


def a(noun: str) -> str:
    """Return a noun with its indefinite article."""
    has_vowel = bool(re.match(r'[aeio]|un(?!i)|up|us(?!e)', noun))
    return f'{"an" if has_vowel else "a"} {noun}'


def finite_verb(words: list[str]) -> int | None:
    """Return the index of the finite verb of a statement; None for a mere noun phrase."""
    if ' '.join(words[:2]) in ('a picture', 'an image', 'the sound', 'a sound', 'the noise'):
        return None
    first = 2 if words and words[0] in DETERMINERS and words[0] not in PRONOUNS else 1
    for at in range(1, len(words)):
        if words[at] in AUXILIARIES:
            return at
        if at < first or 'with' in words[:at]:
            continue
        previous = words[at - 1]
        if previous in (*DETERMINERS, *PREPOSITIONS) and previous not in PRONOUNS:
            continue
        if base_form(words, at) is not None:
            return at
    return _verb_before_noun(words, first)


def _verb_before_noun(words: list[str], first: int) -> int | None:
    """Index of a verb such as in "the drawer bars access", if no other word looks like one."""
    if words[:1] not in (['the'], ['it']) or 'with' in words or 'of' in words:
        return None
    for at in range(first, len(words) - 1):
        is_verb = len(words[at]) > 3 and is_plural(words[at]) and words[at - 1] not in PREPOSITIONS
        if is_verb and base_form(words[: at + 1], at) is not None:
            return at
    return None


def is_auxiliary(words: list[str], at: int) -> bool:
    """Return whether a verb is denied by a mere "not": not so "has" in "the robot has a mug"."""
    word = words[at]
    if word in BE or word in MODALS or word in DO:
        return True
    following = words[at + 1] if at + 1 < len(words) else ''
    if word not in HAVE or not following or following in (*DETERMINERS, *PRONOUNS):
        return False
    participle = re.search(r'(?:ed|en|ung|unk|wn|orn|just|not|never|ly)$', following)
    return bool(participle) or following in (*IRREGULAR.values(), *PARTICIPLES)
