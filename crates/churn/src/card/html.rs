//! The model card as one HTML page: nothing is loaded from anywhere, and there is no script, no inline style and no link.
//!
//! The page forbids itself everything but its own style sheet, which it names by its hash, so that it may stand behind the strictest
//! content-security policy. Charts are inline SVG that says its colours in attributes. All words of the data are escaped.

use super::ModelCard;
use crate::{
    metrics::{Interval, Metrics},
    words::{Lang, number, percent},
};
use std::fmt::Write;

/// The style sheet. IMPORTANT: after a change, `STYLE_HASH` must be worked out again
/// (`printf %s "$STYLE" | openssl dgst -sha256 -binary | base64`); a test notices.
const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2330;background:#fff}h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #d9dee7;vertical-align:top}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}figure{margin:0 0 1rem}figcaption,footer{color:#596273}.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(20rem,1fr));gap:1.5rem}svg{width:100%;height:auto}.note{border-left:4px solid #b7791f;padding-left:.75rem}";
/// Its SHA-256, as a content-security policy names it.
const STYLE_HASH: &str = "sha256-LucNfGWtwoDmTIgXyQmeH0BRRJnflxfaQzENkYIHncI=";

/// Width and height of a chart, and the space around its lines.
const W: f64 = 360.0;
const H: f64 = 280.0;
const LEFT: f64 = 48.0;
const BOTTOM: f64 = 40.0;
const AROUND: f64 = 12.0;
const INK: &str = "#1c2330";
const SOFT: &str = "#9aa3b2";
const BLUE: &str = "#1f6feb";

impl ModelCard {
    /// The card as a page of HTML, in one language.
    #[must_use]
    pub fn html(&self, lang: Lang) -> String {
        let page = Page { card: self, lang, out: String::new() };
        page.write()
    }
}

struct Page<'a> {
    card: &'a ModelCard,
    lang: Lang,
    out: String,
}

impl Page<'_> {
    fn say(&self, en: &'static str, fr: &'static str) -> &'static str {
        if self.lang == Lang::En { en } else { fr }
    }

    fn add(&mut self, text: impl AsRef<str>) {
        self.out.push_str(text.as_ref());
        self.out.push('\n');
    }

    fn write(mut self) -> String {
        let (card, lang) = (self.card, self.lang);
        let code = if lang == Lang::En { "en" } else { "fr" };
        let title = self.say("Model card", "Fiche du modèle");
        self.add(format!(
            "<!doctype html>\n<html lang=\"{code}\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src '{STYLE_HASH}'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}: {}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}: {}</h1>",
            escape(&card.plan.target),
            escape(&card.plan.target)
        ));
        let share = percent(card.positives as f64 / card.rows.max(1) as f64, lang);
        let rows = number(card.rows as f64, 0, lang);
        let leavers = number(card.positives as f64, 0, lang);
        let answer = format!("{} = {}", escape(&card.plan.target), escape(&card.plan.positive));
        self.add(format!("<p>{}</p>", escape(card.chosen.text(lang))));
        self.add(match lang {
            Lang::En => format!("<p>Learnt from {rows} rows, {leavers} of them with {answer} ({share}).</p>"),
            Lang::Fr => format!("<p>Appris sur {rows} lignes, dont {leavers} avec {answer} ({share}).</p>"),
        });
        for note in card.notes.iter().chain(card.plan.warnings.iter().map(|warning| &warning.words)) {
            self.add(format!("<p class=\"note\">{}</p>", escape(note.text(lang))));
        }
        if let Some(metrics) = &card.metrics {
            self.quality(metrics);
        }
        self.reasons();
        if let Some(effect) = &card.effect {
            let heading = self.say("Does the action help?", "L’action aide-t-elle ?");
            self.add(format!("<h2>{heading}</h2>\n<p>{}</p>", escape(&effect.text(lang))));
        }
        self.candidates();
        self.columns();
        let data = self.say("Data", "Données");
        let seed = self.say("seed", "graine");
        self.add(format!(
            "<footer><p>{data} {}, {seed} {}, vigie-churn {}</p></footer>\n</body>\n</html>",
            escape(&card.data_hash),
            card.seed,
            escape(&card.library_version)
        ));
        self.out
    }

    fn quality(&mut self, metrics: &Metrics) {
        let lang = self.lang;
        let heading = match (lang, metrics.folds) {
            (Lang::En, 0) => "Quality on a table of its own, with 95% intervals".to_owned(),
            (Lang::Fr, 0) => "Qualité sur une table à part, avec intervalles à 95 %".to_owned(),
            (Lang::En, folds) => {
                format!("Quality on rows not seen ({} x {folds} folds), with 95% intervals", metrics.repeats)
            }
            (Lang::Fr, folds) => {
                format!(
                    "Qualité sur des lignes non vues ({} x {folds} plis), avec intervalles à 95 %",
                    metrics.repeats
                )
            }
        };
        self.add(format!("<h2>{heading}</h2>\n<table>\n<tbody>"));
        let rows: [(&str, &Interval, usize); 9] = [
            ("AUC", &metrics.auc, 3),
            (self.say("log-loss", "perte logarithmique"), &metrics.log_loss, 3),
            (self.say("Brier score", "score de Brier"), &metrics.brier, 4),
            (self.say("average precision", "précision moyenne"), &metrics.average_precision, 3),
            (self.say("calibration error", "erreur de calibration"), &metrics.calibration_error, 3),
            (
                self.say("lift in the riskiest tenth", "lift du dixième le plus à risque"),
                &metrics.lift_top_decile,
                2,
            ),
            (
                self.say("leavers found in that tenth", "départs trouvés dans ce dixième"),
                &metrics.gain_top_decile,
                2,
            ),
            (self.say("precision at the threshold", "précision au seuil"), &metrics.confusion.precision, 2),
            (self.say("recall at the threshold", "rappel au seuil"), &metrics.confusion.recall, 2),
        ];
        for (name, interval, decimals) in rows {
            let [estimate, low, high] =
                [interval.estimate, interval.low, interval.high].map(|v| number(v, decimals, lang));
            self.add(format!(
                "<tr><th scope=\"row\">{name}</th><td class=\"n\">{estimate}</td><td class=\"n\">[{low}, {high}]</td></tr>"
            ));
        }
        self.add("</tbody>\n</table>\n<div class=\"charts\">");
        let chart = self.calibration(metrics);
        self.add(chart);
        if !metrics.gains.is_empty() {
            let chart = self.gains(metrics);
            self.add(chart);
        }
        self.add("</div>");
    }

    /// A frame with both axes from 0 to `top`, and a place for what is drawn in it.
    fn frame(&self, top: f64, x: &str, y: &str, caption: &str, inside: &str) -> String {
        let lang = self.lang;
        let mut svg = format!(
            "<figure><svg viewBox=\"0 0 {W} {H}\" role=\"img\" aria-label=\"{caption}\" font-size=\"11\" fill=\"{INK}\">\n"
        );
        for step in 0..=4 {
            let value = top * f64::from(step) / 4.0;
            let (px, py) = (across(value / top), up(value / top));
            let text = percent(value, lang);
            // Writing to a string cannot fail.
            let _ = writeln!(
                svg,
                "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{py:.1}\" y2=\"{py:.1}\" stroke=\"#e3e7ee\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>\
                 <text x=\"{px:.1}\" y=\"{}\" text-anchor=\"middle\">{text}</text>",
                W - AROUND,
                LEFT - 6.0,
                py + 4.0,
                H - BOTTOM + 16.0
            );
        }
        let _ = write!(
            svg,
            "<line x1=\"{LEFT}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{SOFT}\" stroke-dasharray=\"4 4\"/>\n{inside}\
             <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{x}</text>\
             <text x=\"12\" y=\"{}\" text-anchor=\"middle\" transform=\"rotate(-90 12 {})\">{y}</text></svg>\
             <figcaption>{caption}</figcaption></figure>",
            up(0.0),
            across(1.0),
            up(1.0),
            (LEFT + W - AROUND) / 2.0,
            H - 6.0,
            (H - BOTTOM) / 2.0,
            (H - BOTTOM) / 2.0
        );
        svg
    }

    fn calibration(&self, metrics: &Metrics) -> String {
        let highest =
            metrics.curve.iter().map(|bin| bin.observed.high.max(bin.predicted)).fold(0.05, f64::max);
        let top = (highest * 20.0).ceil() / 20.0;
        let mut inside = String::new();
        for bin in &metrics.curve {
            let x = across(bin.predicted / top);
            let (low, high) = (up(bin.observed.low / top), up(bin.observed.high / top));
            let _ = writeln!(
                inside,
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{low:.1}\" y2=\"{high:.1}\" stroke=\"{BLUE}\"/>\
                 <circle cx=\"{x:.1}\" cy=\"{:.1}\" r=\"3.5\" fill=\"{BLUE}\"><title>{} / {}</title></circle>",
                up(bin.observed.estimate / top),
                percent(bin.predicted, self.lang),
                percent(bin.observed.estimate, self.lang)
            );
        }
        self.frame(
            top.min(1.0),
            self.say("predicted", "prédit"),
            self.say("observed", "observé"),
            self.say(
                "Calibration: predicted and observed share of leavers, by tenth of the customers",
                "Calibration : part de départs prédite et observée, par dixième des clients",
            ),
            &inside,
        )
    }

    fn gains(&self, metrics: &Metrics) -> String {
        let mut inside = String::new();
        let (mut line, mut upper, mut lower) = (vec![(0.0, 0.0)], vec![(0.0, 0.0)], vec![(0.0, 0.0)]);
        for (index, found) in metrics.gains.iter().enumerate() {
            let share = (index + 1) as f64 / 10.0;
            line.push((share, found.estimate));
            upper.push((share, found.high.min(1.0)));
            lower.push((share, found.low.max(0.0)));
        }
        for points in [&mut line, &mut upper, &mut lower] {
            points.push((1.0, 1.0));
        }
        let text = |points: &[(f64, f64)]| {
            points
                .iter()
                .map(|(x, y)| format!("{:.1},{:.1}", across(*x), up(*y)))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let band: Vec<(f64, f64)> = upper.into_iter().chain(lower.into_iter().rev()).collect();
        let _ = writeln!(
            inside,
            "<polygon points=\"{}\" fill=\"{BLUE}\" fill-opacity=\"0.15\"/>\
             <polyline points=\"{}\" fill=\"none\" stroke=\"{BLUE}\" stroke-width=\"2\"/>",
            text(&band),
            text(&line)
        );
        self.frame(
            1.0,
            self.say("customers, the riskiest first", "clients, les plus à risque d’abord"),
            self.say("leavers found", "départs trouvés"),
            self.say(
                "Gains: leavers found among the riskiest customers; the dashed line is chance",
                "Gains : départs trouvés parmi les clients les plus à risque ; en pointillé, le hasard",
            ),
            &inside,
        )
    }

    fn reasons(&mut self) {
        let shown: Vec<_> = self.card.importance.iter().take(12).collect();
        let top = shown.iter().map(|column| column.mean_size.high).fold(0.0, f64::max);
        if top <= 0.0 {
            return;
        }
        let heading = self.say("What moves the scores", "Ce qui fait les scores");
        let caption = self.say(
            "Mean size of each column’s contribution, in log-odds, with 95% intervals",
            "Taille moyenne de la contribution de chaque colonne, en log-odds, avec intervalles à 95 %",
        );
        let height = 24.0 * shown.len() as f64 + 8.0;
        let mut svg = format!(
            "<h2>{heading}</h2>\n<figure><svg viewBox=\"0 0 560 {height}\" role=\"img\" aria-label=\"{caption}\" \
             font-size=\"12\" fill=\"{INK}\">\n"
        );
        for (index, column) in shown.iter().enumerate() {
            let y = 24.0 * index as f64 + 6.0;
            let wide = |value: f64| 300.0 * value / top;
            let Interval { estimate, low, high } = column.mean_size;
            let _ = writeln!(
                svg,
                "<text x=\"180\" y=\"{}\" text-anchor=\"end\">{}</text>\
                 <rect x=\"190\" y=\"{y}\" width=\"{:.1}\" height=\"14\" fill=\"{BLUE}\" fill-opacity=\"0.7\"/>\
                 <line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{m}\" y2=\"{m}\" stroke=\"{INK}\"/>\
                 <text x=\"{:.1}\" y=\"{}\">{}</text>",
                y + 12.0,
                escape(&shortened(&column.name)),
                wide(estimate),
                190.0 + wide(low),
                190.0 + wide(high),
                198.0 + wide(high),
                y + 12.0,
                number(estimate, 2, self.lang),
                m = y + 7.0
            );
        }
        svg.push_str(&format!("</svg><figcaption>{caption}</figcaption></figure>"));
        self.add(svg);
    }

    fn candidates(&mut self) {
        if self.card.candidates.is_empty() {
            return;
        }
        let (heading, loss, behind) = (
            self.say("What was tried", "Ce qui a été essayé"),
            self.say("log-loss", "perte logarithmique"),
            self.say("behind the best (± standard error)", "écart au meilleur (± erreur type)"),
        );
        self.add(format!(
            "<h2>{heading}</h2>\n<table>\n<thead><tr><th scope=\"col\"></th><th scope=\"col\" class=\"n\">{loss}</th>\
             <th scope=\"col\" class=\"n\">{behind}</th></tr></thead>\n<tbody>"
        ));
        for candidate in &self.card.candidates {
            let say = |value: f64| number(value, 4, self.lang);
            let line = format!(
                "<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td><td class=\"n\">{} ± {}</td></tr>",
                escape(candidate.name.text(self.lang)),
                say(candidate.log_loss),
                say(candidate.behind),
                say(candidate.standard_error)
            );
            self.add(line);
        }
        self.add("</tbody>\n</table>");
    }

    fn columns(&mut self) {
        let heading = self.say("Columns", "Colonnes");
        self.add(format!("<h2>{heading}</h2>\n<table>\n<tbody>"));
        for column in &self.card.plan.columns {
            let line = format!(
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td></tr>",
                escape(&column.name),
                column.role.name(),
                escape(column.reason.text(self.lang))
            );
            self.add(line);
        }
        self.add("</tbody>\n</table>");
    }
}

fn across(share: f64) -> f64 {
    LEFT + (W - LEFT - AROUND) * share.clamp(0.0, 1.0)
}

fn up(share: f64) -> f64 {
    H - BOTTOM - (H - BOTTOM - AROUND) * share.clamp(0.0, 1.0)
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= 26 { name.to_owned() } else { name.chars().take(25).chain(['…']).collect() }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_style() {
        // The crate has no SHA-256: this fingerprint says that the style is the one whose hash stands above.
        assert_eq!(
            format!("{:016x}", xxhash_rust::xxh3::xxh3_64(STYLE.as_bytes())),
            "4dfb8254782320af",
            "the style sheet has changed: work STYLE_HASH out again, then this"
        );
    }

    #[test]
    fn words_of_the_data_cannot_become_markup() {
        assert_eq!(escape("<b a=\"1\">&'"), "&lt;b a=&quot;1&quot;&gt;&amp;&#39;");
        assert_eq!(shortened(&"é".repeat(30)).chars().count(), 26);
    }
}
