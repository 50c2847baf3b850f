"""Minimax coefficients of include/eosin/math: python3 coefficients.py (needs mpmath)."""

from mpmath import (atanh, cos, digamma, erfc, exp, expm1, log, log1p, loggamma, lu_solve, matrix, mp, mpf, nstr, pi,
                    sqrt)

mp.dps = 40


def minimax(f, weight, low, high, degree, grid=500, rounds=12):
    """Coefficients of the polynomial with the least max |weight (f - polynomial)|, by Remez exchange on a grid."""
    low, high = mpf(low), mpf(high)
    xs = [(low + high) / 2 - (high - low) / 2 * cos(pi * i / grid) for i in range(grid + 1)]
    fs, ws = [f(x) for x in xs], [weight(x) for x in xs]
    count = degree + 2
    reference = [round(grid * i / (count - 1)) for i in range(count)]
    best = None
    for _ in range(rounds):
        a, b = matrix(count, count), matrix(count, 1)
        for row, j in enumerate(reference):
            for k in range(degree + 1):
                a[row, k] = xs[j] ** k
            a[row, degree + 1] = (-1) ** row / ws[j]
            b[row] = fs[j]
        solution = lu_solve(a, b)
        c = [solution[k] for k in range(degree + 1)]
        errors = [(y - sum(ck * x**k for k, ck in enumerate(c))) * w for x, y, w in zip(xs, fs, ws)]
        largest = max(abs(e) for e in errors)
        if best is None or largest < best[1]:
            best = (c, largest)
        if largest < abs(solution[degree + 1]) * mpf("1.02"):
            break
        extrema = []
        for i, e in enumerate(errors):
            if not extrema or (e > 0) != (errors[extrema[-1]] > 0):
                extrema.append(i)
            elif abs(e) > abs(errors[extrema[-1]]):
                extrema[-1] = i
        while len(extrema) > count:
            extrema.pop(0 if abs(errors[extrema[0]]) < abs(errors[extrema[-1]]) else -1)
        if len(extrema) < count:
            break
        reference = extrema
    return best


def show(name, fit, digits):
    print(name, "largest weighted error", nstr(fit[1], 3))
    print("   ", ", ".join(nstr(c, digits) for c in fit[0]))


def phi(f):
    """(f - log(1 + f)) / f^2"""
    return (f - log1p(f)) / f**2 if abs(f) > mpf(10) ** -8 else mpf(1) / 2 - f / 3 + f * f / 4


def atanh_tail(z):
    s = sqrt(z)
    return (2 * atanh(s) / s - 2) / z if z > mpf(10) ** -16 else mpf(2) / 3 + z * 2 / 5


def exp_tail(r):
    return (expm1(r) - r) / r**2 if abs(r) > mpf(10) ** -8 else mpf(1) / 2 + r / 6 + r * r / 24


def delta(x):
    if x < 300:
        return loggamma(x) - ((x - mpf(1) / 2) * log(x) - x + log(2 * pi) / 2)
    z = 1 / (x * x)
    return (mpf(1) / 12 - z * (mpf(1) / 360 - z * (mpf(1) / 1260 - z * (mpf(1) / 1680 - z * (mpf(1) / 1188 - z * (
        mpf(691) / 360360 - z * (mpf(1) / 156 - z * 3617 / 122400))))))) / x


def r(x):
    if x < 300:
        return log(x) - 1 / (2 * x) - digamma(x)
    z = 1 / (x * x)
    return z * (mpf(1) / 12 - z * (mpf(1) / 120 - z * (mpf(1) / 252 - z * (mpf(1) / 240 - z * (mpf(1) / 132 - z * (
        mpf(691) / 32760 - z * (mpf(1) / 12 - z * 3617 / 8160)))))))


root = sqrt(mpf(2))
half_log = log(mpf(2)) / 2 * mpf("1.001")
exp_weight = lambda x: x * x * exp(-x) + mpf(10) ** -9
show("logarithm float", minimax(phi, lambda f: 1 / phi(f), 1 / root - mpf("1.00001"), root * mpf("1.00001") - 1, 9), 10)
show("logarithm double", minimax(atanh_tail, lambda z: 1 / atanh_tail(z), 0,
                                 ((root - 1) / (root + 1)) ** 2 * mpf("1.0001"), 7), 20)
show("exponential float", minimax(exp_tail, exp_weight, -half_log, half_log, 4), 10)
show("exponential double", minimax(exp_tail, exp_weight, -half_log, half_log, 9), 20)
for c, degree_delta, degree_r, digits in ((mpf(0), 7, 8, 10), (mpf(3) / 4, 18, 18, 20)):
    by_delta = lambda v: delta(1 / v - c) / v if v > 0 else mpf(1) / 12
    by_r = lambda v: r(1 / v - c) / v**2 if v > 0 else mpf(1) / 12
    show("stirling remainder", minimax(by_delta, lambda v: 1 / by_delta(v), 0, 1 / (1 + c), degree_delta), digits)
    show("stirling slope", minimax(by_r, lambda v: 1 / by_r(v), 0, 1 / (1 + c), degree_r), digits)
for centre, end, degree, digits in ((mpf(4), mpf("14.6"), 9, 10), (mpf(5), mpf(39), 21, 20)):
    def tail(t):
        a = centre * (1 + t) / (1 - t)
        return exp(a * a / 2) * erfc(a / root) / 2 * (a + centre)
    show("normal tail", minimax(tail, lambda t: 1 / tail(t), -1, (end - centre) / (end + centre), degree), digits)
