"""Pre-training with your own Lightning Trainer.

    import lightning
    from massrl.lightning import PretrainModule, ViewsDataModule

    if __name__ == "__main__":  # processes that load images may import the script
        data = ViewsDataModule({"recipe": "default", "data": {"train": "photos"}})
        module = PretrainModule(data.config)
        lightning.Trainer(max_epochs=100).fit(module, data)
        backbone = module.method.backbone

``massrl.pretrain`` trains the same objective on the same views, and adds bit-exact resume, streamed views
and the run folder.
"""

from massrl.train.lightning_module import PretrainModule, ViewsDataModule

__all__ = ["PretrainModule", "ViewsDataModule"]
