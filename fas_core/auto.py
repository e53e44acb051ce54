"""transformers' Auto classes know FAS once this module is imported.

`import fas_core` does it where transformers is imported already; it does not import transformers itself, which takes seconds.
"""

from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForAudioClassification

from fas_core.audio_classification import FASForAudioClassification
from fas_core.configuration_fas import FASConfig
from fas_core.feature_extraction_fas import FASFeatureExtractor
from fas_core.modeling_fas import FASModel

AutoConfig.register(FASConfig.model_type, FASConfig, exist_ok=True)
AutoModel.register(FASConfig, FASModel, exist_ok=True)
AutoModelForAudioClassification.register(FASConfig, FASForAudioClassification, exist_ok=True)
AutoFeatureExtractor.register(FASConfig, FASFeatureExtractor, exist_ok=True)
