"""Features of a corpus: patches, augmentation, and the cache that holds them."""

from fas_core.features.augment import augment as augment
from fas_core.features.augment import variant_key as variant_key
from fas_core.features.cache import FeatureCache as FeatureCache
from fas_core.features.extract import ExtractionReport as ExtractionReport
from fas_core.features.extract import extract_features as extract_features
from fas_core.features.extract import process_from_environment as process_from_environment
from fas_core.features.patches import num_patches as num_patches
from fas_core.features.patches import patchify as patchify
