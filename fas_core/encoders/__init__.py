"""Frozen encoders behind one interface, and the extractor that joins two of them."""

from fas_core.encoders.base import ClipFeatures as ClipFeatures
from fas_core.encoders.base import Encoder as Encoder
from fas_core.encoders.base import EncoderOutput as EncoderOutput
from fas_core.encoders.base import identity_digest as identity_digest
from fas_core.encoders.extractor import FeatureExtractor as FeatureExtractor
from fas_core.encoders.extractor import StreamConfig as StreamConfig
from fas_core.encoders.soundstream import SoundStreamEncoder as SoundStreamEncoder
from fas_core.encoders.whisper import WhisperBackbone as WhisperBackbone
from fas_core.encoders.whisper import WhisperEncoder as WhisperEncoder
