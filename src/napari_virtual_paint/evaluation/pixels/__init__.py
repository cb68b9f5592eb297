"""Level "pixels": PCC, SSIM and other scores of single stains."""
