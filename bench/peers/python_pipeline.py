#!/usr/bin/env python3
"""From raw counts to results as one writes it in Python: pandas, NumPy, SciPy, PyTorch, scikit-learn, XGBoost. Steps and settings are
those of panvae's commands with their defaults, but for the variance filter: log-CPM, quantile normalisation, split by donor, PCA,
z-scores, the VAE, its posterior means, accuracy of the cohort by XGBoost in five folds of the hold-out.

  python_pipeline.py COUNTS --out FOLDER [--obs TABLE] [--where COLUMN=VALUE] [--epochs 40] [--batch 32] [--threads 2]

COUNTS is a table, features x samples (.tsv, .gz), or a dense .h5ad, samples x features. FOLDER gets result.json (seconds and peak
memory of each phase, accuracies), split.tsv, the two embeddings, and normalised.npy, which is written outside of the clock.
"""
import time

START = time.perf_counter()

import argparse
import json
import os

import h5py
import numpy as np
import pandas as pd
import sklearn
import torch
import xgboost
from scipy.stats import rankdata
from sklearn.decomposition import PCA
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import LabelEncoder

from torch_vae import forget_peak, fused_adam, rna_vae, status_bytes

HIDDEN, LATENT, WARMUP_EPOCHS, CLIP = 1024, 512, 10, 10.0
SIDES = ("train", "validation", "holdout")


class Phases:
    """Seconds and peak memory of each part, in their order."""

    def __init__(self):
        self.done = [{"phase": "start", "seconds": time.perf_counter() - START, "peak_bytes": status_bytes("VmHWM")}]

    def run(self, name, function, *arguments):
        forget_peak()
        start = time.perf_counter()
        result = function(*arguments)
        self.done.append({"phase": name, "seconds": time.perf_counter() - start, "peak_bytes": status_bytes("VmHWM")})
        return result


def read_column(group):
    if isinstance(group, h5py.Group):
        categories = group["categories"].asstr()[:]
        return pd.Categorical.from_codes(group["codes"][:], categories)
    return group.asstr()[:] if h5py.check_string_dtype(group.dtype) else group[:]


def read_h5ad(path):
    """Matrix, genes and the table of samples of a dense .h5ad."""
    with h5py.File(path) as file:
        obs = pd.DataFrame({name: read_column(file["obs"][name]) for name in file["obs"].attrs["column-order"]},
                           index=read_column(file["obs"][file["obs"].attrs["_index"]]))
        genes = read_column(file["var"][file["var"].attrs["_index"]])
        return file["X"][:], genes, obs


def read(options):
    if options.counts.endswith(".h5ad"):
        counts, genes, obs = read_h5ad(options.counts)
    else:
        frame = pd.read_csv(options.counts, sep="\t", index_col=0)
        obs = pd.read_csv(options.obs, sep="\t", index_col=0).loc[frame.columns]
        counts, genes = frame.to_numpy(dtype=np.float32).T, frame.index.to_numpy()
    if options.where:
        column, value = options.where.split("=", 1)
        chosen = (obs[column] == value).to_numpy()
        counts, obs = counts[chosen], obs[chosen]
    return np.ascontiguousarray(counts, dtype=np.float32), genes, obs


def draw_split(obs, seed, holdout=0.2, validation=0.1):
    """Donors of each cohort are held out, validate or train."""
    random, side = np.random.default_rng(seed), {}
    for _, donors in obs.groupby("cohort", observed=True)["donor"]:
        donors = random.permutation(np.asarray(donors.unique()))
        held = round(holdout * len(donors))
        checked = held + round(validation * (len(donors) - held))
        side.update({d: "holdout" if i < held else "validation" if i < checked else "train" for i, d in enumerate(donors)})
    return obs["donor"].map(side)


def preprocess(counts, genes, obs, seed):
    """log2-CPM, quantile-normalised to the mean of the training samples; counts become the result. Its genes and samples."""
    if "split" not in obs:
        obs = obs.assign(split=draw_split(obs, seed))
    expressed, covered = counts.any(axis=0), counts.any(axis=1)
    if not (expressed.all() and covered.all()):
        counts, genes, obs = counts[covered][:, expressed], genes[expressed], obs[covered]
    train = (obs["split"] == "train").to_numpy()
    library = counts.sum(axis=1, dtype=np.float64)
    prior = 2 * library / library[train].mean()
    counts += prior[:, None].astype(np.float32)
    counts *= (1e6 / (library + 2 * prior))[:, None].astype(np.float32)
    x = np.log2(counts, out=counts)
    reference = np.sort(x[train], axis=1).mean(axis=0, dtype=np.float64)
    ranks = np.arange(1, x.shape[1] + 1)
    for row in x:
        row[:] = np.interp(rankdata(row), ranks, reference)
    return x, genes, obs


def principal_components(x, train):
    pca = PCA(n_components=min(512, int(train.sum()) - 1, x.shape[1]), random_state=0)
    pca.fit(x[train])
    return pca.transform(x), pca._fit_svd_solver  # which one "auto" has become


def train_vae(x, obs, options):
    """Scales x in place, trains, and gives the network of the best epoch with its losses."""
    train, validation = (torch.from_numpy(np.flatnonzero(obs["split"] == side)) for side in ("train", "validation"))
    mean, sd = x[train].mean(axis=0, dtype=np.float64), x[train].std(axis=0, ddof=1, dtype=np.float64)
    sd[sd <= 1e-8] = 1
    x -= mean.astype(np.float32)
    x /= sd.astype(np.float32)
    z = torch.from_numpy(np.clip(x, -CLIP, CLIP, out=x))

    torch.manual_seed(options.seed)
    model = rna_vae(z.shape[1], HIDDEN, LATENT)
    adam, _ = fused_adam(model.parameters(), learning_rate=1e-4, weight_decay=1e-4)
    kl_weight, best, best_loss, losses = z.shape[1] / 4000, None, float("inf"), []
    for epoch in range(1, options.epochs + 1):
        model.train()
        for rows in train[torch.randperm(len(train))].tensor_split(-(-len(train) // options.batch)):
            loss, _, _ = model(z[rows], torch.randn(len(rows), LATENT), kl_weight * min(1, epoch / WARMUP_EPOCHS))
            adam.zero_grad()
            loss.backward()
            adam.step()
        model.eval()
        with torch.no_grad():
            sums = [model(z[rows], None, kl_weight)[0].item() * len(rows) for rows in validation.split(256)]
        losses.append(sum(sums) / len(validation))
        if epoch > min(WARMUP_EPOCHS, options.epochs - 1) and losses[-1] < best_loss:
            best_loss, best = losses[-1], {name: tensor.clone() for name, tensor in model.state_dict().items()}
    if best:
        model.load_state_dict(best)
    return model, z, losses


def embed(model, z):
    model.eval()
    with torch.no_grad():
        return torch.cat([model.encoder(part)[0] for part in z.split(256)]).numpy()


def accuracy(embedding, obs, options):
    """Mean accuracy of the cohort in five folds of the hold-out that keep donors whole; cohorts of fewer donors are left out."""
    held = obs["split"].to_numpy() == "holdout"
    donors = obs[held].groupby("cohort", observed=True)["donor"].nunique()
    held &= obs["cohort"].isin(donors.index[donors >= 5]).to_numpy()
    x, y = embedding[held], LabelEncoder().fit_transform(obs["cohort"][held])
    scores = []
    for train, test in StratifiedGroupKFold(5, shuffle=True, random_state=options.seed).split(x, y, obs["donor"][held]):
        model = xgboost.XGBClassifier(n_estimators=100, max_depth=6, learning_rate=0.3, tree_method="hist", n_jobs=options.threads)
        model.fit(x[train], y[train])
        scores.append(float((model.predict(x[test]) == y[test]).mean()))
    return float(np.mean(scores))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", metavar="COUNTS")
    parser.add_argument("--out", required=True, metavar="FOLDER")
    parser.add_argument("--obs", metavar="TABLE")
    parser.add_argument("--where", metavar="COLUMN=VALUE")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    os.makedirs(options.out, exist_ok=True)

    phases = Phases()
    x, genes, obs = phases.run("read", read, options)
    x, genes, obs = phases.run("preprocess", preprocess, x, genes, obs, options.seed)
    train = (obs["split"] == "train").to_numpy()
    obs[["donor", "split"]].to_csv(f"{options.out}/split.tsv", sep="\t", index_label="sample")
    np.save(f"{options.out}/normalised.npy", x)
    with open(f"{options.out}/names.json", "w", encoding="utf-8") as file:
        json.dump({"samples": list(obs.index), "genes": list(genes)}, file)
    scores, solver = phases.run("pca", principal_components, x, train)
    np.save(f"{options.out}/pca.npy", scores)
    model, z, losses = phases.run("train", train_vae, x, obs, options)
    means = phases.run("embed", embed, model, z)
    np.save(f"{options.out}/vae.npy", means)
    accuracies = phases.run("accuracy", lambda: {"pca": accuracy(scores, obs, options), "vae": accuracy(means, obs, options)})

    result = {
        "samples": x.shape[0], "genes": x.shape[1], "split": {side: int((obs["split"] == side).sum()) for side in SIDES},
        "epochs": options.epochs, "batch": options.batch, "phases": phases.done, "accuracy": accuracies, "validation_losses": losses, "pca_solver": solver,
        "versions": {"numpy": np.__version__, "pandas": pd.__version__, "torch": torch.__version__.split("+")[0], "scikit-learn": sklearn.__version__,
                     "xgboost": xgboost.__version__},
    }
    with open(f"{options.out}/result.json", "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
