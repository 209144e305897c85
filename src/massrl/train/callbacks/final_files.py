"""Write the files of a session that has ended: the backbone, the report, a picture of the losses."""

from __future__ import annotations

import logging

from massrl.files import drawn_again
from massrl.images.pictures import save_picture
from massrl.runs.folder import RunFolder
from massrl.runs.metrics import read_metrics
from massrl.runs.verdict import verdicts
from massrl.train.callbacks.base import StepCallback
from massrl.train.initialize import read_start
from massrl.train.loggers import Loggers
from massrl.train.step import TrainingStep
from massrl.weights.load import save_trained

logger = logging.getLogger("massrl")


class FinalFiles(StepCallback):
    """Save the backbone and the report, say what the curves show, and close the loggers, at the end.

    A session that ended by an error has none of it. It is a callback, so that signals are still handled:
    one of them does not cut off what is saved.

    Args:
        folder: the run folder.
        loggers: receive the picture of the loss matrix.
    """

    def __init__(self, folder: RunFolder, loggers: Loggers) -> None:
        self._folder = folder
        self._loggers = loggers

    def on_end(self, step: TrainingStep) -> None:
        """Write all files."""
        # Imported here, so that a run starts without them.
        from massrl.report.matrix_picture import draw_matrix
        from massrl.report.run_page import loss_matrices, report_run

        folder = self._folder
        save_trained(
            folder.backbone,
            step.method.backbone,
            config=step.config,
            step=step.step,
            start=read_start(folder, step.config),
        )
        with drawn_again(folder.report.name):
            report_run(folder)
        with drawn_again(folder.metrics.name):
            for question, answer in verdicts(read_metrics(folder.metrics)):
                logger.info("%-20s %s", question, answer)
        with drawn_again(folder.matrix_picture.name):
            for matrix in loss_matrices(folder):
                picture = draw_matrix(matrix)
                save_picture(picture, folder.matrix_picture, command="pretrain")
                self._loggers.picture("loss of every pair", picture, step.step)
        self._loggers.close("success")
