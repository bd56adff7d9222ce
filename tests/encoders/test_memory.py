"""Memory is returned to the system, and no value changes by it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from encoders.memory import MAPS, unload_mapped
from encoders.text.minilm import MiniLM

pytestmark = pytest.mark.skipif(not MAPS.exists(), reason='needs /proc')


def mapped_kb(path: Path) -> int:
    """Resident memory of the mappings of a file in this process."""
    entries = re.split(r'\n(?=[0-9a-f]+-[0-9a-f]+ )', Path('/proc/self/smaps').read_text())
    own = [entry for entry in entries if entry.split('\n')[0].endswith(f' {path.resolve()}')]
    return sum(int(kb) for entry in own for kb in re.findall(r'^Rss:\s+(\d+) kB', entry, re.M))


@settings(max_examples=10, deadline=None)
@given(sizes=st.lists(st.integers(1, 40_000), min_size=1, max_size=6))
def test_unloaded_tensors_keep_their_values(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    path = tmp_path_factory.mktemp('weights') / 'a b.safetensors'
    rng = np.random.default_rng(0)
    wanted = {f't{i}': torch.from_numpy(rng.random(n, np.float32)) for i, n in enumerate(sizes)}
    save_file(wanted, path)
    found = load_file(path)
    for _ in range(2):
        for name, tensor in wanted.items():
            torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)
        unload_mapped(path)
        assert mapped_kb(path) == 0


def test_a_file_that_is_not_mapped_is_left_alone(tmp_path: Path) -> None:
    unload_mapped(tmp_path / 'missing')
    unload_mapped(tmp_path)


def test_a_text_tower_keeps_only_the_pages_that_it_reads() -> None:
    tower = MiniLM()
    assert mapped_kb(tower._weights) < 1000  # not the projections that were joined
    first = tower.embed(['the drawer is open'])
    loaded = mapped_kb(tower._weights)
    tower.unload()
    assert mapped_kb(tower._weights) == 0
    np.testing.assert_array_equal(tower.embed(['the drawer is open']), first)  # from the cache
    assert mapped_kb(tower._weights) == 0
    np.testing.assert_array_equal(tower._encode(['the drawer is open']), first)
    assert mapped_kb(tower._weights) <= loaded


FREES = """
import ctypes, re, threading
from pathlib import Path
from encoders.memory import trim_heap

def resident_kb():
    return int(re.search(r'VmRSS:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])

kept = []
thread = threading.Thread(target=lambda: kept.extend(bytes(2000) for _ in range(20_000)))
thread.start()
thread.join()
del kept[:-1]  # the last one keeps glibc from shrinking the heap
before = resident_kb()
trim_heap()
print(before - resident_kb() if hasattr(ctypes.CDLL(None), 'malloc_trim') else 40_000)
"""


def test_freed_memory_of_all_threads_is_returned() -> None:
    done = subprocess.run(
        [sys.executable, '-c', FREES], stdout=subprocess.PIPE, text=True, timeout=60, check=True
    )
    assert int(done.stdout) > 20_000


def test_loading_a_set_imports_no_sparse_matrices() -> None:
    program = (
        'import sys; from encoders import Binder, Predicate, PredicateBank; '
        'binder = Binder.load("lb-mini"); '
        'PredicateBank([Predicate.from_sentence("the drawer is open")], binder); '
        'assert "scipy" not in sys.modules'
    )
    subprocess.run([sys.executable, '-c', program], check=True, timeout=120)


def test_a_set_without_its_encoders_embeds_and_scores_as_before() -> None:
    from encoders import Binder, Evidence, Predicate, PredicateBank

    whole, freed = Binder.load('lb-mini'), Binder.load('lb-mini')
    freed.free_encoders()
    assert not any(list(tower.parameters()) for tower in freed._towers.values())
    observed = whole.observe(depth=np.full((64, 64), 1000, np.uint16))['depth']
    evidence = observed if isinstance(observed, Evidence) else observed[0]
    scores = [
        PredicateBank([Predicate.from_sentence('the drawer is open')], binder).score(
            {'depth': evidence}
        )[0]
        for binder in (whole, freed)
    ]
    assert scores[0] == scores[1]
    assert freed.grid('depth') == whole.grid('depth')
    assert freed.modalities == whole.modalities
