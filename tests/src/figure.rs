//! Line charts as SVG, without anything but text.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "figures for people, far from the ends of their types"
)]

use std::fmt::Write as _;

/// One chart: lines over a common axis.
pub struct Chart<'a> {
    /// What stands above it.
    pub title: &'a str,
    /// The name of the axis that goes up.
    pub unit: &'a str,
    /// Name, colour and points of each line.
    pub lines: Vec<Line<'a>>,
}

/// Name, colour and points.
pub type Line<'a> = (&'a str, &'a str, Vec<(f64, f64)>);

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 220.0;
const MARGIN: f64 = 56.0;

/// The charts beside each other, over an axis of this name.
pub fn svg(axis: &str, charts: &[Chart<'_>]) -> String {
    let wide = charts.len() as f64 * (WIDTH + 2.0 * MARGIN);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{wide}\" height=\"{}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        HEIGHT + 2.0 * MARGIN
    );
    for (at, chart) in charts.iter().enumerate() {
        let left = at as f64 * (WIDTH + 2.0 * MARGIN) + MARGIN;
        let _ = write!(text, "<g transform=\"translate({left},{MARGIN})\">\n{}</g>\n", chart.draw(axis));
    }
    text + "</svg>\n"
}

impl Chart<'_> {
    fn draw(&self, axis: &str) -> String {
        let points = || self.lines.iter().flat_map(|(_, _, points)| points);
        let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(f64::MIN_POSITIVE, f64::max);
        let (x_most, y_most) = (most(|point| point.0), round_up(most(|point| point.1)));
        let (x, y) = (|value: f64| value / x_most * WIDTH, |value: f64| HEIGHT - value / y_most * HEIGHT);
        let mut text = format!(
            "<text x=\"0\" y=\"-28\" font-size=\"14\">{}</text>\n<text x=\"{WIDTH}\" y=\"{}\" text-anchor=\"end\">{axis}</text>\n\
             <text x=\"-40\" y=\"-10\">{}</text>\n",
            self.title,
            HEIGHT + 36.0,
            self.unit
        );
        for quarter in 0..=4 {
            let value = y_most * f64::from(quarter) / 4.0;
            let at = y(value);
            let _ = writeln!(
                text,
                "<line x1=\"0\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/><text x=\"-6\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                at + 4.0,
                short(value)
            );
        }
        for (value, _) in self.lines.first().map_or(&[][..], |(_, _, points)| points) {
            let at = x(*value);
            let _ = writeln!(
                text,
                "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{value}</text>",
                HEIGHT + 18.0
            );
        }
        for (at, (name, colour, points)) in self.lines.iter().enumerate() {
            let path: Vec<_> = points.iter().map(|&(px, py)| format!("{:.1},{:.1}", x(px), y(py))).collect();
            let _ = writeln!(
                text,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/><text x=\"8\" y=\"{}\" fill=\"{colour}\">{name}</text>",
                path.join(" "),
                14 + 16 * at
            );
        }
        text
    }
}

/// The next of 1, 2, 5, 10, 20, 50, ...
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * power).find(|step| *step >= value).unwrap_or(value)
}

fn short(value: f64) -> String {
    if value >= 100.0 || value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_holds_its_lines() {
        let lines = vec![("one", "red", vec![(1.0, 10.0), (2.0, 0.0)])];
        let drawn = svg("load", &[Chart { title: "T", unit: "ms", lines }]);
        assert!(drawn.starts_with("<svg") && drawn.ends_with("</svg>\n"), "{drawn}");
        assert!(drawn.contains("points=\"180.0,0.0 360.0,220.0\""), "{drawn}");
        for text in [">T<", ">ms<", ">one<", ">load<"] {
            assert!(drawn.contains(text), "{text}: {drawn}");
        }
    }

    #[test]
    fn an_axis_ends_at_a_round_number() {
        assert_eq!([3.0, 10.0, 0.3, 51.0, 1.0].map(round_up), [5.0, 10.0, 0.5, 100.0, 1.0]);
    }
}
