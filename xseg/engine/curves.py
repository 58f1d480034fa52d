"""Where curves go during a training: JSON lines and TensorBoard, or any backend of mmengine."""

from types import SimpleNamespace

from mmengine.config import Config
from mmengine.registry import VISUALIZERS
from mmengine.visualization import LocalVisBackend, Visualizer


@VISUALIZERS.register_module()
class Curves(Visualizer):
    """mmengine's Visualizer for scalars and finished pictures; it cannot draw.

    It has no figure, because matplotlib takes 0.7 s to import. The config is not written beside the JSON lines: it is
    in the work directory already.
    """

    def _initialize_fig(self, fig_cfg: dict) -> tuple:
        return None, SimpleNamespace(get_dpi=lambda: None), None

    def add_config(self, config: Config, **arguments) -> None:
        for backend in self._vis_backends.values():
            if not isinstance(backend, LocalVisBackend):
                backend.add_config(config, **arguments)
