# Tuned LightGBM and tuned logistic regression on the folds of a table; prints mean log-loss of each by fold as JSON.
# arguments: table.csv (columns named c_... hold words, the last one is the answer), folds.json ([[rows to be judged on], ...])
import csv, json, sys, time, warnings
import lightgbm, numpy
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

warnings.filterwarnings("ignore")
if sys.argv[1] == "--bundled":
    # A table that comes with scikit-learn, written as CSV.
    from sklearn import datasets
    name, path = sys.argv[2], sys.argv[3]
    bunch = dict(cancer=datasets.load_breast_cancer, digits=datasets.load_digits, diabetes=datasets.load_diabetes, wine=datasets.load_wine)[name]()
    y = dict(cancer=lambda t: t == 0, digits=lambda t: t == 8, diabetes=lambda t: t > 140, wine=lambda t: t == 1)[name](bunch.target)
    with open(path, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow([f"x{i}" for i in range(bunch.data.shape[1])] + ["churn"])
        for row, answer in zip(bunch.data, y):
            out.writerow([repr(float(v)) for v in row] + [int(answer)])
    sys.exit()

with open(sys.argv[1], newline="") as file:
    rows = list(csv.reader(file))
names, rows = rows[0], rows[1:]
y = numpy.array([int(row[-1]) for row in rows])
folds = json.load(open(sys.argv[2]))
columns, words = [], []
for i, name in enumerate(names[:-1]):
    cells = [row[i] for row in rows]
    if name.startswith("c_"):
        codes = {cell: code for code, cell in enumerate(sorted(set(cells) - {""}))}
        columns.append([codes.get(cell, numpy.nan) for cell in cells])
        words.append(i)
    else:
        columns.append([float(cell) if cell else numpy.nan for cell in cells])
x = numpy.array(columns, dtype=float).T

def loss(answers, p):
    p = numpy.clip(p, 1e-15, 1 - 1e-15)
    return float(-numpy.mean(answers * numpy.log(p) + (1 - answers) * numpy.log(1 - p)))

def boosted(x1, y1, x2):
    best = None
    for leaves in (4, 8, 31):
        for least in (20, 100):
            options = dict(objective="binary", num_leaves=leaves, learning_rate=0.05, min_data_in_leaf=least,
                           lambda_l2=1.0, feature_fraction=0.8, bagging_fraction=0.8, bagging_freq=1, seed=1,
                           num_threads=1, verbose=-1)
            rows = lightgbm.Dataset(x1, y1, categorical_feature=words or "auto", free_raw_data=False)
            inner = list(StratifiedKFold(4, shuffle=True, random_state=1).split(x1, y1))
            history = lightgbm.cv(options, rows, 1000, folds=inner, callbacks=[lightgbm.early_stopping(40, verbose=False)])
            curve = history["valid binary_logloss-mean"]
            if best is None or min(curve) < best[0]:
                best = (min(curve), options, int(numpy.argmin(curve)) + 1)
    rows = lightgbm.Dataset(x1, y1, categorical_feature=words or "auto", free_raw_data=False)
    return lightgbm.train(best[1], rows, best[2]).predict(x2, num_threads=1)

def design(x1, x2):
    parts1, parts2 = [], []
    for i in range(x1.shape[1]):
        a, b = x1[:, i], x2[:, i]
        if i in words:
            levels = [v for v in numpy.unique(a[~numpy.isnan(a)]) if (a == v).sum() >= 5]
            for v in levels:
                parts1.append((a == v).astype(float)); parts2.append((b == v).astype(float))
        else:
            middle = numpy.nanmedian(a)
            parts1.append(numpy.where(numpy.isnan(a), middle, a)); parts2.append(numpy.where(numpy.isnan(b), middle, b))
        if numpy.isnan(a).any():
            parts1.append(numpy.isnan(a).astype(float)); parts2.append(numpy.isnan(b).astype(float))
    d1, d2 = numpy.array(parts1).T, numpy.array(parts2).T
    mean, spread = d1.mean(0), d1.std(0)
    spread[spread == 0] = 1
    return (d1 - mean) / spread, (d2 - mean) / spread

def straight(x1, y1, x2):
    d1, d2 = design(x1, x2)
    best = None
    for c in (0.0003, 0.003, 0.03, 0.3, 3.0):
        sums = []
        for a, b in StratifiedKFold(4, shuffle=True, random_state=1).split(d1, y1):
            sums.append(loss(y1[b], LogisticRegression(C=c, max_iter=300).fit(d1[a], y1[a]).predict_proba(d1[b])[:, 1]))
        if best is None or numpy.mean(sums) < best[0]:
            best = (numpy.mean(sums), c)
    return LogisticRegression(C=best[1], max_iter=500).fit(d1, y1).predict_proba(d2)[:, 1]

told = dict(lightgbm=[], logistic=[], lightgbm_s=0.0, logistic_s=0.0)
for fold in folds:
    test = numpy.array(fold)
    mask = numpy.ones(len(y), bool)
    mask[test] = False
    for name, run in (("lightgbm", boosted), ("logistic", straight)):
        start = time.perf_counter()
        told[name].append(loss(y[test], run(x[mask], y[mask], x[test])))
        told[name + "_s"] += time.perf_counter() - start
print(json.dumps(told))
