"""What several notebooks need, or what must be fast.

The rooms, bottom to top; a room knows only rooms above it in this list.

validation       one-line errors that name the argument
losses           cosines, InfoNCE, SigLIP, CKA, each once
training         the schedule of the learning rate, a bar that counts
linear_gaussian  the theory's world: designs, information, least squares, exchange rate
transport        entropic plans; KLOT with its gradient in closed form
metrics          retrieval, FOSCTTM, CKA, mutual neighbours, probes
intervals        intervals of means, variances and ratios, and their words
teachers         closed forms that align two spaces from pairs; preparation
matching         Wasserstein Procrustes: two spaces matched without a pair
alignment        SOTAlign: one training loop, in which a method is its loss
baselines        the losses of other methods, for the same loop
sue              spectral coordinates, CCA of the pairs, MMD: a rival that needs no such loop
scenes           the table Z*, and its projections: pictures, captions, sounds
world            dials and splits of the world of scenes
cache            weights and features, kept outside the repository
encoders         small encoders, each of one modality
pretraining      encoders trained, each on its own split, and what they make of scenes
networks         networks around a shared trunk
uml              training many seeds of a network side by side
recordings       spoken digits from a folder, pinned by their content
cells            SNARE-seq from a folder, pinned by its content
groceries        photographs of groceries with names and descriptions, likewise
parameters       a notebook's parameters, checked; profiles
claims           what a notebook finds, judged, shown, recorded
files            a user's pictures and texts, features of millions of them on the disk
hub              anybody's frozen encoders, behind the same `encode` as ours
concepts         real drawings with real names, from the package index
takehome         a folder with few pairs, a closed form, a search
plots            one style, captions, sliders
drawings         the drawings that explain

lib.exercises holds the checks of the exercises, a file per lesson.
"""
