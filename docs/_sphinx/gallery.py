"""How the gallery orders and runs the examples."""

import tempfile
from pathlib import Path

# A picture that is still open when an example ends is shown on its page; the file is thrown away.
_FOLDER = tempfile.TemporaryDirectory()
# In this order, with these arguments, so that they draw.
EXAMPLES = {
    "softmax_by_hand.py": ["--picture", f"{_FOLDER.name}/lines.png"],
    "iris.py": ["--picture", f"{_FOLDER.name}/iris.png"],
    "admissions.py": [],
    "program_choice.py": ["--picture", f"{_FOLDER.name}/choice.png"],
    "cross_validation.py": ["--pictures", _FOLDER.name],
    "survey.py": ["--picture", f"{_FOLDER.name}/questions.png"],
    "topics.py": ["--picture", f"{_FOLDER.name}/words.png"],
    "wardrobe.py": ["--picture", f"{_FOLDER.name}/calibration.png"],
    "reliability.py": ["--picture", f"{_FOLDER.name}/reliability.png"],
    "imbalance.py": [],
    "digits.py": ["--picture", f"{_FOLDER.name}/digits.png"],
    "streaming.py": ["--picture", f"{_FOLDER.name}/cost.png"],
    "cluster.py": [],
}


def rank(name):
    """Return an example's place in the gallery; those not listed above come last."""
    return (*EXAMPLES, name).index(name)


def arguments(gallery_conf, script_vars):
    """Return the command line with which an example is run; say where its file is."""
    file = script_vars["example_globals"]["__file__"] = script_vars["src_file"]
    return EXAMPLES.get(Path(file).name, [])
