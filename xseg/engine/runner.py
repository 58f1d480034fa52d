"""mmengine's Runner, with its log in order."""

import logging

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.utils.dl_utils import collect_env

from xseg import __version__


def build_runner(cfg: Config) -> Runner:
    """mmengine's Runner, which says in one line on the screen what it otherwise fills two hundred with.

    The versions of everything stand in the log file, the config beside it.
    """
    level = cfg.get("log_level", "INFO")
    cfg.log_level = "WARNING"
    runner = Runner.from_cfg(cfg)
    runner.cfg.log_level = level
    runner.dump_config()
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
