"""Every number of the reference implementation, again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encoders import Binder
from encoders.model_sets.released import load_released
from encoders.preprocess.languagebind import audio, depth, video
from encoders.preprocess.languagebind.resample import resample
from encoders.text.clip import END, START, tokenize

Oracle = Callable[[str], dict[str, np.ndarray]]
MODALITIES = ('image', 'depth', 'audio', 'video')
# The reference's float32 FFT ran on an Intel processor, and every FFT rounds differently. Where a
# band holds a millionth of its neighbours' energy that noise is seen on other processors: up to
# this in a normalised spectrogram, 1e-5 on average, and this in the embedding.
SAME_FFT = audio.rounds_like_reference()
NOISE, NOISE_EMBEDDED = (1e-6, 1e-6) if SAME_FFT else (2e-4, 3e-5)


def close(found: Any, wanted: np.ndarray, atol: float = 1e-5, rtol: float = 0.0) -> None:
    np.testing.assert_allclose(np.asarray(found), wanted, atol=atol, rtol=rtol)


@pytest.mark.parametrize('name', MODALITIES)
def test_every_stage_of_the_network(
    name: str, oracle_folder: Path, oracle: Oracle, enlarged: Callable[..., torch.Tensor]
) -> None:
    wanted = oracle(f'{name}/io.npz')
    found = load_released({name: oracle_folder / name})
    encoder: Any = found.encoders[name]
    tower, seen = encoder.tower, {}
    tower.pre_layrnorm.register_forward_hook(lambda m, i, o: seen.update(embedded=i[0], pre=o))
    for index, layer in enumerate(tower.encoder.layers):
        layer.register_forward_hook(lambda m, i, o, index=index: seen.update({index: o}))
    tower.visual_projection.register_forward_hook(
        lambda m, i, o: seen.update(pooled=i[0], projected=o)
    )
    vectors = encoder.encode(enlarged(wanted['model_only/input_small_f16']))
    model = {k.removeprefix('model_only/'): v for k, v in wanted.items() if 'model_only' in k}
    close(seen['embedded'][:, :2], model['embeddings_out_cls_and_first_patch'])
    close(seen['pre'][:, :2], model['pre_ln_cls_and_first_patch'])
    # States of the residual stream are as large as 10; relative to that.
    for layer in (0, 1):
        states = model[f'layer{layer}_out_cls']
        close(seen[layer][:, 0], states, atol=5e-6 * np.abs(states).max())
    close(seen['pooled'], model['pooled'])
    close(seen['projected'], model['projected'])
    close(vectors, model['image_embeds'], atol=2e-6)
    text: Any = found.text
    ids = torch.from_numpy(wanted['text/input_ids'])
    embedded = text.embed_tokens(ids)
    close(embedded, wanted['text/text_embeds'])
    logits = encoder.logit_scale * embedded @ vectors.numpy().T
    close(logits, model['logits_per_text'], rtol=1e-5)
    close(tower.logit_scale, wanted['logit_scale'], atol=1e-7)
    scales = Binder.load({name: oracle_folder / name}).logit_scales
    assert scales == {name: pytest.approx(float(np.exp(wanted['logit_scale'])))}


def test_stages_of_the_text_tower(oracle_folder: Path, oracle: Oracle) -> None:
    for name in MODALITIES:
        wanted = oracle(f'{name}/io.npz')
        module: Any = load_released({name: oracle_folder / name}).text.module
        ids = torch.from_numpy(wanted['text/input_ids'])
        close(module(ids), wanted['text/text_projected'])
        module.text_projection = None
        close(module(ids), wanted['text/text_pooled'])


def test_padding_does_not_change_a_sentence(oracle_folder: Path, oracle: Oracle) -> None:
    wanted = oracle('depth/io.npz')
    text: Any = load_released({'depth': oracle_folder / 'depth'}).text
    ids, mask = wanted['text/input_ids'], wanted['text/attention_mask']
    close(text.embed_tokens(torch.from_numpy(ids * mask)), wanted['text/text_embeds'])


@pytest.mark.parametrize('antialias', [False, True])
@pytest.mark.parametrize('name', ['image', 'depth'])
def test_pictures_from_raw_array_to_embedding(
    name: str, antialias: bool, oracle_folder: Path, oracle: Oracle
) -> None:
    wanted, kind = oracle(f'{name}/io.npz'), 'aa' if antialias else 'noaa'
    binder = Binder.load({name: oracle_folder / name}, options={name: {'antialias': antialias}})
    raw = wanted['raw_image_rgb_u8' if name == 'image' else 'raw_depth_u16_mm']
    inputs = binder.preprocess(name, raw)
    close(inputs[:, :, 1::4, 1::4], wanted[f'pixel_values_{kind}_strided'])
    if name == 'depth':
        statistics = [inputs.mean(), inputs.std()]
        close(statistics, wanted[f'pixel_values_{kind}_mean_std'])
    close(binder.embed(**{name: raw})[name], wanted[f'e2e/image_embeds_{kind}'])


def test_no_antialiasing_is_the_default(oracle_folder: Path, oracle: Oracle) -> None:
    wanted = oracle('depth/io.npz')
    binder = Binder.load({'depth': oracle_folder / 'depth'})
    found = binder.embed(depth=wanted['raw_depth_u16_mm'])['depth']
    close(found, wanted['e2e/image_embeds_noaa'])
    assert np.abs(found - wanted['e2e/image_embeds_aa']).max() > 1e-3


def test_depth_before_it_is_resized(oracle: Oracle) -> None:
    wanted = oracle('depth/io.npz')
    raw = wanted['raw_depth_u16_mm']
    config = depth.DepthConfig(size=min(raw.shape), mean=(0, 0, 0), std=(1, 1, 1))
    inputs, _ = depth.preprocess(raw, config)
    left = (raw.shape[1] - raw.shape[0]) // 2  # the crop that is left of the resizing
    columns = [i for i in range(1, raw.shape[1], 8) if left <= i < left + raw.shape[0]]
    first = columns[0] // 8
    close(
        inputs[0, 1::8][:, [c - left for c in columns]],
        wanted['depthnorm_only_strided'][0][:, first : first + len(columns)],
    )


def test_the_transform_of_open_clip(oracle_folder: Path, oracle: Oracle) -> None:
    wanted = oracle('image/io.npz')
    binder = Binder.load(
        {'image': oracle_folder / 'image'}, options={'image': {'round_to_bytes': True}}
    )
    inputs = binder.preprocess('image', wanted['raw_image_rgb_u8'])
    close(inputs[:, :, 1::4, 1::4], wanted['pixel_values_openclip_strided'])
    close(
        binder.embed(image=wanted['raw_image_rgb_u8'])['image'],
        wanted['e2e/image_embeds_openclip'],
    )


def test_clips_from_raw_array_to_embedding(oracle_folder: Path, oracle: Oracle) -> None:
    wanted = oracle('video/io.npz')
    raw = wanted['raw_frames_thwc_u8']
    binder = Binder.load({'video': oracle_folder / 'video'})
    np.testing.assert_array_equal(video.frame_indices(len(raw), 8), wanted['frame_ids'])
    inputs = binder.preprocess('video', raw)
    close(inputs[0, :, :, 1::8, 1::8], wanted['pixel_values_strided'])
    close(binder.embed(video=raw)['video'], wanted['e2e/video_embeds'])
    mirrored = binder.encode({'video': inputs.flip(-1)})['video']
    close(mirrored, wanted['e2e/video_embeds_hflip'])


def test_resampling_and_the_filter_bank(oracle: Oracle) -> None:
    wanted = oracle('audio/io.npz')
    wave = torch.from_numpy(wanted['raw_1s_i16_48k'].astype(np.float32) / 32768)
    found = resample(wave[None], before_hz=48_000, after_hz=16_000)[0]
    close(found, wanted['resample_48k_to_16k_f32'], atol=1e-6)
    close(audio.mel_filters(112, 16_000, 512), wanted['mel_bank_112x256'], atol=1e-6)


def noisy(found: Any, wanted: np.ndarray) -> None:
    """Equal but for the reference's own rounding (see `NOISE`)."""
    close(found, wanted, atol=NOISE)
    assert np.abs(np.asarray(found) - wanted).mean() < 1e-5


def test_spectrograms(oracle: Oracle) -> None:
    wanted, config = oracle('audio/io.npz'), audio.AudioConfig()
    lengths = []
    for name, stored in (('3s', 'fbank_3s_first64'), ('25s', 'fbank_25s_every40')):
        wave = torch.from_numpy(wanted[f'raw_{name}_i16_16k'].astype(np.float32) / 32768)
        mel = audio.log_mel(wave - wave.mean(), config)
        lengths.append(len(mel))
        part = mel[:64] if name == '3s' else mel[::40]
        noisy(part / (2 * config.std), wanted[stored] / (2 * config.std))
    assert lengths == wanted['fbank_lengths'].tolist()


STUB = 'int mkl_serv_intel_cpu_true(void) { return 1; }'
EXACT = """
import sys, numpy, torch
from encoders.preprocess.languagebind import audio
wanted = numpy.load(sys.argv[1])
print(audio.rounds_like_reference())
for name, stored, part in (('3s', 'fbank_3s_first64', slice(64)),
                           ('25s', 'fbank_25s_every40', slice(None, None, 40))):
    wave = torch.from_numpy(wanted[f'raw_{name}_i16_16k'].astype(numpy.float32) / 32768)
    mel = audio.log_mel(wave - wave.mean(), audio.AudioConfig())[part]
    print(numpy.abs(mel.numpy() - wanted[stored]).max())
"""


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() != 'AVX512' or not torch.backends.mkl.is_available(),
    reason='the FFT of the reference needs MKL and AVX-512',
)
def test_spectrograms_are_the_reference_bit_by_bit_with_its_fft(
    oracle_folder: Path, tmp_path: Path
) -> None:
    """MKL takes another FFT on processors that are not Intel's, unless it believes they are."""
    compiler = shutil.which('cc') or shutil.which('c++')
    if compiler is None:
        pytest.skip('needs a compiler')
    (tmp_path / 'intel.c').write_text(STUB)
    stub = tmp_path / 'intel.so'
    subprocess.run(
        [compiler, '-x', 'c', '-shared', '-fPIC', '-o', stub, tmp_path / 'intel.c'], check=True
    )
    done = subprocess.run(
        [sys.executable, '-c', EXACT, str(oracle_folder / 'audio' / 'io.npz')],
        env={**os.environ, 'LD_PRELOAD': str(stub), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stdout.split() == ['True', '0.0', '0.0'], done.stderr


def test_sound_from_raw_array_to_embedding(oracle_folder: Path, oracle: Oracle) -> None:
    wanted = oracle('audio/io.npz')
    binder = Binder.load({'audio': oracle_folder / 'audio'})
    short, long = (wanted[f'raw_{name}_i16_16k'] for name in ('3s', '25s'))
    inputs = binder.preprocess('audio', (short, 16_000))
    noisy(inputs[0, 0, 1::4, 1::4], wanted['pixel_values_3s_ch0_strided'])
    assert torch.equal(inputs[0, 0], inputs[0, 1]) and torch.equal(inputs[0, 0], inputs[0, 2])
    inputs = binder.preprocess('audio', (long, 16_000))
    noisy(inputs[0, :, 1::4, 1::8], wanted['pixel_values_25s_first_strided'])
    for raw, name in ((short, '3s'), (long, '25s_first')):
        found = binder.embed(audio=(raw, 16_000))['audio']
        close(found, wanted[f'e2e/audio_embeds_{name}'], atol=NOISE_EMBEDDED)
    wave = short.astype(np.float32) / 32768
    stereo = np.stack([wave, 0.5 * wave[::-1]])
    inputs = binder.preprocess('audio', (stereo, 16_000))
    noisy(inputs[0, 0, 1::4, 1::8], wanted['pixel_values_stereo_ch0_strided'])


def test_stretches_of_a_long_sound(oracle_folder: Path, oracle: Oracle) -> None:
    wanted, config = oracle('audio/io.npz'), audio.AudioConfig()
    wave = torch.from_numpy(wanted['raw_25s_i16_16k'].astype(np.float32) / 32768)
    mel = audio.log_mel(wave - wave.mean(), config)
    assert audio.segment_starts(len(mel), config) == wanted['segment_starts_first'].tolist()
    drawn = wanted['segment_starts_npseed0'].tolist()
    inputs = audio.audio_inputs(mel, config, starts=drawn)
    noisy(inputs[:, 1::4, 1::8], wanted['pixel_values_25s_npseed0_strided'])
    binder = Binder.load({'audio': oracle_folder / 'audio'})
    found = binder.encode({'audio': inputs[None]})['audio']
    close(found, wanted['e2e/audio_embeds_25s_npseed0'], atol=NOISE_EMBEDDED)


def test_a_kept_share_of_the_patches_of_a_clip(
    oracle_folder: Path, oracle: Oracle, enlarged: Callable[..., torch.Tensor]
) -> None:
    wanted = oracle('video/train_dropout.npz')
    tower: Any = load_released({'video': oracle_folder / 'video'}).encoders['video'].tower
    inputs = enlarged(oracle('video/io.npz')['model_only/input_small_f16'])
    kept = torch.from_numpy(wanted['patch_keep_indices'].astype(np.int64))
    close(tower(inputs, kept=kept), wanted['image_embeds'])


def test_tokens_are_identical(oracle_folder: Path, oracle: Oracle) -> None:
    texts = json.loads((oracle_folder / 'text' / 'strings.json').read_text())
    wanted = oracle('text/io.npz')
    tokens = tokenize(texts).numpy()
    np.testing.assert_array_equal(tokens, wanted['input_ids'])
    # Everything up to and including the first end is attended to.
    lengths = (tokens == END).argmax(axis=1) + 1
    np.testing.assert_array_equal(lengths, wanted['attention_mask'].sum(axis=1))
    assert (tokens[:, 0] == START).all()


def test_special_tokens_in_a_sentence_are_those_of_the_released_vocabulary() -> None:
    tokens = tokenize(['a <|endoftext|> b', 'a <end_of_text> b'])
    assert (tokens == END).sum(dim=1).tolist() == [74, 67]
