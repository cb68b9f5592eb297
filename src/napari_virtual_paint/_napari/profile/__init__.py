"""The Profile dock: wells in UMAP or PCA, linked with the Plate dock."""
