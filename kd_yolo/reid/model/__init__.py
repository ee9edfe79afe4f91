"""The network: backbone, BNNeck, classifier and local branch, and its checkpoints.

In come crops (N,3,H,W), RGB from 0 to 1; out come embeddings (N,D) of unit length, and in training the features that
the losses need. Read in this order: ``settings``, ``backbones``, ``read_file``, ``pretrained``, ``pre_relu``, ``neck``,
``heads``, ``local``, ``checkpoint``, ``network``. A tensor's name ends in its shape: n images, c channels, h and w of a
map (in ``nhd`` h stripes), d features, k identities.
"""
