//! The few special functions that tests and intervals need: normal distribution, chi-square tail, logistic.

/// 1 / (1 + exp(-x)), without overflow at either end.
#[must_use]
pub fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

/// ln(p / (1 - p)); probabilities at the very ends are moved in by 1e-12.
#[must_use]
pub fn logit(p: f64) -> f64 {
    let p = p.clamp(1e-12, 1.0 - 1e-12);
    (p / (1.0 - p)).ln()
}

/// ln(1 + exp(x)), without overflow.
#[must_use]
pub fn softplus(x: f64) -> f64 {
    if x > 0.0 { x + (-x).exp().ln_1p() } else { x.exp().ln_1p() }
}

/// The share of the standard normal distribution below `z`.
#[must_use]
pub fn normal_cdf(z: f64) -> f64 {
    // P(|Z| > z) is the upper tail of a chi-square with one degree of freedom at z squared.
    let tail = 0.5 * chi_square_tail(z * z, 1.0);
    if z > 0.0 { 1.0 - tail } else { tail }
}

/// The value below which a share `p` of the standard normal distribution lies (0 < p < 1; the ends are clamped).
#[must_use]
pub fn normal_quantile(p: f64) -> f64 {
    let p = p.clamp(1e-12, 1.0 - 1e-12);
    // Bisection on the distribution itself: exact to the last digits, and called a handful of times per model.
    let (mut low, mut high) = (-8.0_f64, 8.0_f64);
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        if normal_cdf(middle) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// The probability that a chi-square variable of `degrees` degrees of freedom exceeds `x`.
#[must_use]
pub fn chi_square_tail(x: f64, degrees: f64) -> f64 {
    if x <= 0.0 || degrees <= 0.0 {
        return 1.0;
    }
    gamma_tail(degrees / 2.0, x / 2.0)
}

/// ln of the gamma function, Lanczos' approximation (g = 7, nine terms), for positive arguments.
fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        let pi = std::f64::consts::PI;
        return (pi / (pi * x).sin()).ln() - ln_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let mut sum = 0.999_999_999_999_809_9;
    for (i, term) in TERMS.iter().enumerate() {
        sum += term / (x + i as f64 + 1.0);
    }
    let t = x + 7.5;
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

/// The regularised upper incomplete gamma function Q(a, x): a series below a + 1, a continued fraction above.
fn gamma_tail(a: f64, x: f64) -> f64 {
    let front = (a * x.ln() - x - ln_gamma(a)).exp();
    if x < a + 1.0 {
        let mut term = 1.0 / a;
        let mut sum = term;
        for n in 1..1_000 {
            term *= x / (a + f64::from(n));
            sum += term;
            if term < sum * 1e-16 {
                break;
            }
        }
        return (1.0 - front * sum).clamp(0.0, 1.0);
    }
    // Modified Lentz evaluation of the continued fraction.
    let tiny = 1e-300;
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / tiny;
    let mut d = 1.0 / b;
    let mut value = d;
    for n in 1..1_000 {
        let n = f64::from(n);
        let numerator = -n * (n - a);
        b += 2.0;
        d = numerator * d + b;
        d = 1.0 / if d.abs() < tiny { tiny } else { d };
        c = b + numerator / c;
        if c.abs() < tiny {
            c = tiny;
        }
        let step = d * c;
        value *= step;
        if (step - 1.0).abs() < 1e-15 {
            break;
        }
    }
    (front * value).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let check = |found: f64, expect: f64| assert!((found - expect).abs() < 1e-9, "{found} {expect}");
        check(normal_cdf(1.959_963_984_540_054), 0.975);
        check(normal_cdf(-1.0), 0.158_655_253_931_457);
        check(normal_quantile(0.975), 1.959_963_984_540_054);
        check(chi_square_tail(9.487_729_036_781_154, 4.0), 0.05);
        check(chi_square_tail(0.0, 3.0), 1.0);
        check(ln_gamma(0.5), 0.5 * std::f64::consts::PI.ln());
        check(sigmoid(-800.0), 0.0);
        check(sigmoid(800.0), 1.0);
        check(softplus(800.0), 800.0);
        check(logit(sigmoid(3.25)), 3.25);
    }
}
