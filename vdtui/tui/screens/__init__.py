"""The screens: runs, one run, its gallery, and the dialogs over them."""
