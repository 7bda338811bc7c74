"""Region overlap and metrics, under the names that PySOT has."""

from toolkit.utils import region as region
from toolkit.utils.statistics import calculate_accuracy as calculate_accuracy
from toolkit.utils.statistics import calculate_expected_overlap as calculate_expected_overlap
from toolkit.utils.statistics import calculate_f1 as calculate_f1
from toolkit.utils.statistics import calculate_failures as calculate_failures
from toolkit.utils.statistics import determine_thresholds as determine_thresholds
from toolkit.utils.statistics import overlap_ratio as overlap_ratio
from toolkit.utils.statistics import success_error as success_error
from toolkit.utils.statistics import success_overlap as success_overlap
