"""Sets on disk, the hub, OpenCLIP towers, and the command that handles them."""

from __future__ import annotations

import json
import shutil
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from encoders import Binder, ModelSetError, SpaceError
from encoders.model_sets import hub
from encoders.model_sets.convert import convert
from encoders.model_sets.files import load_set, verify
from encoders.model_sets.golden import golden_input
from encoders.model_sets.manifest import sha256_of
from encoders.model_sets.places import MANIFEST, WEIGHTS
from encoders.text.clip import tokenize
from encoders.vision.config import VisionConfig
from encoders.vision.vit import VisionTower
from lb_ros.cli import main


@pytest.fixture(autouse=True)
def empty_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv('LB_ROS_MODELS', str(tmp_path / 'store'))
    return tmp_path / 'store'


@pytest.fixture
def pair(oracle_folder: Path, tmp_path: Path) -> dict[str, Path]:
    """Depth and infrared: the same base, another projection, in one space."""
    other = shutil.copytree(oracle_folder / 'depth', tmp_path / 'thermal')
    tensors = torch.load(other / 'pytorch_model.bin', weights_only=True)
    tensors['visual_projection.weight'] = tensors['visual_projection.weight'].flip(0)
    torch.save(tensors, other / 'pytorch_model.bin')
    config = json.loads((other / 'config.json').read_text())
    (other / 'config.json').write_text(json.dumps({**config, 'model_type': 'LanguageBindThermal'}))
    return {'depth': oracle_folder / 'depth', 'infrared': other}


def test_a_converted_set_gives_the_same_vectors(pair: dict[str, Path], tmp_path: Path) -> None:
    folder = convert(pair, tmp_path / 'set', name='a pair')
    before, after = Binder.load(pair), Binder.load(folder)
    assert after.space == before.space
    assert (after.model, after.modalities) == ('a pair', ('depth', 'infrared'))
    assert (after.held_bytes, after.saved_bytes) == (before.held_bytes, before.saved_bytes)
    for name in pair:
        raw = {name: golden_input(name)}
        np.testing.assert_array_equal(after.embed(**raw)[name], before.embed(**raw)[name])
    stored = load_file(folder / WEIGHTS)
    # Everything but the projection is the same, so it is in the file once.
    assert [k for k in stored if k.startswith('infrared/')] == [
        'infrared/visual_projection.weight'
    ]
    assert load_set(folder, modalities=['infrared']).encoders.keys() == {'infrared'}
    assert max(verify(folder).values()) < 1e-5
    with pytest.raises(ModelSetError, match='already holds a set'):
        convert(pair, tmp_path / 'set', name='again')


def test_preprocessing_is_stored_with_the_set(pair: dict[str, Path], tmp_path: Path) -> None:
    options = {'depth': {'holes': 'filled', 'antialias': True}}
    folder = convert(pair, tmp_path / 'set', name='filled', options=options)
    raw = golden_input('depth')
    raw[:50] = 0
    found = Binder.load(folder).preprocess('depth', raw)
    assert torch.equal(found, Binder.load(pair, options=options).preprocess('depth', raw))
    plain = Binder.load(folder, options={'depth': {'holes': 'near', 'antialias': False}})
    assert torch.equal(plain.preprocess('depth', raw), Binder.load(pair).preprocess('depth', raw))
    with pytest.raises(ModelSetError, match="key 'hole'"):
        Binder.load(folder, options={'depth': {'hole': 'near'}})


def test_spaces_are_not_mixed_in_a_set(oracle_folder: Path, tmp_path: Path) -> None:
    folders = {name: oracle_folder / name for name in ('image', 'depth')}
    text = torch.load(folders['image'] / 'pytorch_model.bin', weights_only=True)
    text['text_projection.weight'] = text['text_projection.weight'] * 2
    other = shutil.copytree(folders['image'], tmp_path / 'image')
    torch.save(text, other / 'pytorch_model.bin')
    with pytest.raises(SpaceError, match='is not the space'):
        convert({**folders, 'image': other}, tmp_path / 'set', name='mixed')


def change_manifest(folder: Path, **values: Any) -> None:
    described = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**described, **values}))


def change_weights(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file(tensors, folder / WEIGHTS)
    change_manifest(folder, sha256=sha256_of(folder / WEIGHTS))


def test_damage_is_found(pair: dict[str, Path], tmp_path: Path) -> None:
    folder = convert(pair, tmp_path / 'set', name='set')
    tensors = load_file(folder / WEIGHTS)
    change_weights(folder, {**tensors, 'depth/visual_projection.weight': torch.ones(32, 64)})
    with pytest.raises(ModelSetError, match='golden vector of depth is off'):
        verify(folder)
    change_manifest(folder, sha256='0' * 64)
    for load in (Binder.load, verify):
        with pytest.raises(ModelSetError, match='sha256 differs'):
            load(folder)
    change_weights(folder, {k: v for k, v in tensors.items() if 'pre_lay' not in k})
    with pytest.raises(ModelSetError, match=r'missing tensor depth/pre_layrnorm'):
        Binder.load(folder)
    change_weights(folder, {**tensors, 'text/text_projection.weight': torch.ones(32, 32)})
    with pytest.raises(SpaceError, match='its text tower is'):
        Binder.load(folder)
    change_manifest(folder, format=3)
    with pytest.raises(ModelSetError):
        Binder.load(folder)


def run_cli(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(['models', *words])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_the_command(
    pair: dict[str, Path], empty_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = [f'{name}={folder}' for name, folder in pair.items()]
    out = str(empty_store / 'mine')
    status, text, _ = run_cli(capsys, 'convert', *sources, '--out', out, '--depth-holes', 'filled')
    assert status == 0 and 'MiB saved by sharing' in text
    assert Binder.load('mine').modalities == ('depth', 'infrared')
    status, text, _ = run_cli(capsys, 'list', '--json')
    names = [one['name'] for one in json.loads(text)['here']]
    assert {'lb-mini', 'mine'} <= set(names)
    status, text, _ = run_cli(capsys, 'list')
    assert 'languagebind-large' in text and 'openclip:' in text
    status, text, _ = run_cli(capsys, 'inspect', 'mine', '--json')
    assert json.loads(text)['modalities']['depth']['holes'] == 'filled'
    for model in ('lb-mini', str(pair['depth'])):
        status, text, _ = run_cli(capsys, 'inspect', model)
        assert status == 0 and 'space' in text
    for model in ('lb-mini', 'mine'):
        status, text, _ = run_cli(capsys, 'verify', model)
        assert status == 0 and 'is intact' in text
    (empty_store / 'mine' / WEIGHTS).write_bytes(b'no')
    status, _, error = run_cli(capsys, 'verify', 'mine')
    assert status == 1 and 'sha256 differs' in error
    status, _, error = run_cli(capsys, 'convert', 'smell=/', '--out', out)
    assert status == 2 and 'MODALITY=FOLDER' in error
    status, _, error = run_cli(capsys, 'verify', 'languagebind-large')
    assert status == 2 and 'lb-ros models pull languagebind-large' in error


class Hub:
    """What `pull` uses of huggingface_hub, serving the tiny checkpoints."""

    def __init__(self, folder: Path, sha: str | None = None) -> None:
        self.folder, self.sha, self.asked = folder, sha, list[str]()
        self.HfApi = lambda: self

    def model_info(self, repository: str, **_: Any) -> Any:
        self.asked.append(repository)
        hashed = self.sha or sha256_of(self.folder / 'pytorch_model.bin')
        lfs = types.SimpleNamespace(sha256=hashed)
        file = types.SimpleNamespace(rfilename='pytorch_model.bin', lfs=lfs)
        return types.SimpleNamespace(sha='abc', siblings=[file])

    def snapshot_download(self, repository: str, **_: Any) -> str:
        return str(self.folder)


def test_pulling(
    oracle_folder: Path,
    empty_store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    served = Hub(oracle_folder / 'depth')
    monkeypatch.setattr(hub, 'open_hub', lambda: (served, (OSError,)))
    status, text, _ = run_cli(
        capsys, 'pull', 'languagebind-large', '--modalities', 'depth', '--yes'
    )
    assert status == 0 and str(empty_store) in text
    assert served.asked == ['LanguageBind/LanguageBind_Depth']
    assert Binder.load('languagebind-large').modalities == ('depth',)
    described = json.loads((empty_store / 'languagebind-large' / MANIFEST).read_text())
    assert described['provenance']['repositories']['depth'].endswith('_Depth@abc')
    served.sha = '0' * 64
    with pytest.raises(ModelSetError, match='not the one the hub states'):
        hub.pull('languagebind-large', empty_store / 'b', modalities=('depth',))
    monkeypatch.setattr(served, 'model_info', lambda *a, **k: (_ for _ in ()).throw(OSError('x')))
    status, _, error = run_cli(capsys, 'pull', 'languagebind-huge', '--yes')
    assert status == 1 and 'cannot be downloaded (OSError: x)' in error and 'convert' in error
    with pytest.raises(ModelSetError, match='cannot be pulled'):
        hub.pull('languagebind-tiny', empty_store / 'c')
    with pytest.raises(ModelSetError, match='has no depth'):
        hub.pull('languagebind-huge', empty_store / 'c', modalities=('depth',))


CONFIG = {
    'embed_dim': 32,
    'vision_cfg': {'image_size': 224, 'layers': 2, 'width': 64, 'head_width': 16,
                   'patch_size': 14, 'mlp_ratio': 2.0},
    'text_cfg': {'context_length': 77, 'vocab_size': 49408, 'width': 32, 'heads': 2, 'layers': 2,
                 'mlp_ratio': 2.0},
}  # fmt: skip


@pytest.fixture(scope='module')
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A small random OpenCLIP model and the file of its weights."""
    import open_clip

    folder = tmp_path_factory.mktemp('openclip')
    (folder / 'ViT-tiny-test.json').write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder)
    torch.manual_seed(0)
    model = open_clip.create_model('ViT-tiny-test').eval()
    torch.save(model.state_dict(), folder / 'weights.pt')
    return folder / 'weights.pt', model


def test_an_open_clip_tower_is_a_set(tiny: tuple[Path, Any]) -> None:
    weights, model = tiny
    binder = Binder.load(f'openclip:ViT-tiny-test/{weights}')
    assert binder.modalities == ('image',)
    raw = golden_input('image')
    with torch.no_grad():
        inputs = binder.preprocess('image', raw)
        wanted = model.encode_image(inputs, normalize=True)
        texts = ['a drawer that is open', 'a cat']
        sentences = model.encode_text(tokenize(texts), normalize=True)
    np.testing.assert_allclose(binder.embed(image=raw)['image'], wanted, atol=1e-6)
    np.testing.assert_allclose(binder.embed_text(texts), sentences, atol=1e-6)
    with pytest.raises(ValueError, match='text 0 is empty'):
        binder.embed_text([' '])


def vision_from_open_clip(
    tensors: dict[str, torch.Tensor], *, layers: int
) -> dict[str, torch.Tensor]:
    """Tensors of open_clip's vision transformer under `VisionTower`'s names."""
    named = {
        'embeddings.class_embedding': tensors['class_embedding'],
        'embeddings.position_embedding.weight': tensors['positional_embedding'],
        'embeddings.patch_embedding.weight': tensors['conv1.weight'],
        'visual_projection.weight': tensors['proj'].T.contiguous(),
    }
    for kind in ('weight', 'bias'):
        named[f'pre_layrnorm.{kind}'] = tensors[f'ln_pre.{kind}']
        named[f'post_layernorm.{kind}'] = tensors[f'ln_post.{kind}']
        for layer in range(layers):
            old, new = f'transformer.resblocks.{layer}', f'encoder.layers.{layer}'
            parts = tensors[f'{old}.attn.in_proj_{kind}'].chunk(3)
            for part, tensor in zip('qkv', parts, strict=True):
                named[f'{new}.self_attn.{part}_proj.{kind}'] = tensor
            named |= {
                f'{new}.self_attn.out_proj.{kind}': tensors[f'{old}.attn.out_proj.{kind}'],
                f'{new}.layer_norm1.{kind}': tensors[f'{old}.ln_1.{kind}'],
                f'{new}.layer_norm2.{kind}': tensors[f'{old}.ln_2.{kind}'],
                f'{new}.mlp.fc1.{kind}': tensors[f'{old}.mlp.c_fc.{kind}'],
                f'{new}.mlp.fc2.{kind}': tensors[f'{old}.mlp.c_proj.{kind}'],
            }
    return named


def test_its_space_is_that_of_a_language_bind_set_with_the_same_text_tower(
    tiny: tuple[Path, Any], oracle_folder: Path, tmp_path: Path
) -> None:
    weights, model = tiny
    plain = Binder.load(f'openclip:ViT-tiny-test/{weights}')
    state = dict(model.visual.named_parameters())
    vision = vision_from_open_clip(state, layers=2)
    tower = VisionTower(
        VisionConfig(64, 2, 4, 128, patch_size=14, image_size=(224, 224), projection=32)
    )
    tower.load_state_dict({**vision, 'logit_scale': torch.tensor(2.0)})
    inputs = plain.preprocess('image', golden_input('image'))
    with torch.no_grad():
        np.testing.assert_allclose(
            tower(inputs), plain.encode({'image': inputs})['image'], atol=1e-5
        )
    from open_clip import create_model

    from encoders.model_sets.openclip import plain_text

    text_model = create_model('ViT-tiny-test', pretrained=str(weights), force_custom_text=True)
    _, text = plain_text('tiny', text_model.text)
    config = json.loads((oracle_folder / 'image' / 'config.json').read_text())
    config['text_config']['vocab_size'] = 49408
    folder = tmp_path / 'released'
    folder.mkdir()
    (folder / 'config.json').write_text(json.dumps(config))
    named = {k if k in ('visual_projection.weight', 'logit_scale') else f'vision_model.{k}': v
             for k, v in tower.state_dict().items()}  # fmt: skip
    torch.save({**named, **text}, folder / 'pytorch_model.bin')
    released = Binder.load({'image': folder})
    assert released.space == plain.space
    sentence = ['the stove is hot']
    np.testing.assert_array_equal(released.embed_text(sentence), plain.embed_text(sentence))


def test_unknown_open_clip_names_are_refused(tiny: tuple[Path, Any]) -> None:
    for name, message in (
        ('openclip:ViT-L-14', 'expected openclip:'),
        ('openclip:ViT-nope/x', "no architecture 'ViT-nope'"),
        ('openclip:ViT-L-14/nope', 'has no such tag, only .*datacomp_xl_s13b_b90k'),
        ('openclip:ViT-L-14/datacomp_xl_s13b_b90k', 'lb-ros models pull openclip:ViT-L-14'),
    ):
        with pytest.raises(ModelSetError, match=message):
            Binder.load(name)
    with pytest.raises(KeyError, match="no encoder for 'depth'"):
        Binder.load(f'openclip:ViT-tiny-test/{tiny[0]}', modalities=['depth'])
