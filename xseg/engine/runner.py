"""mmengine's Runner with a short log on the screen."""

import logging

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.utils.dl_utils import collect_env

from xseg import __version__


def build_runner(cfg: Config) -> Runner:
    """Build mmengine's Runner with one line about the run on the screen, instead of two hundred.

    All versions are in the log file, and the config is in a file beside it.
    """
    runner = _Runner.from_cfg(cfg)
    level = runner.cfg.get("log_level", "INFO")
    runner.logger.setLevel(level)
    for handler in sorted(runner.logger.handlers, key=lambda handler: not isinstance(handler, logging.FileHandler)):
        if isinstance(handler, logging.FileHandler):
            handler.setLevel(level)
            runner.logger.info("\n".join(f"{name}: {value}" for name, value in collect_env().items()))
        elif runner.rank == 0:
            handler.setLevel(level)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    runner.logger.info(
        f"xseg {__version__}, torch {torch.__version__}, {device}, {runner.world_size} process(es), "
        f"seed {runner.seed}, {runner.work_dir}"
    )
    return runner


class _Runner(Runner):
    """Logs warnings only until it is built, and leaves versions and config to `build_runner`."""

    def build_logger(self, log_level: str = "INFO", **arguments):
        return super().build_logger("WARNING", **arguments)

    def _log_env(self, env_cfg: dict) -> None:
        pass
