//! Figures of several rounds, and how they are printed.

use std::fmt;

/// The figures of one server, one a round.
#[derive(Clone, Debug, Default)]
pub struct Figures(Vec<f64>);

impl Figures {
    /// Adds the figure of a round.
    pub fn push(&mut self, figure: f64) {
        self.0.push(figure);
        self.0.sort_by(f64::total_cmp);
    }

    /// The middle one, or the mean of both; `None` if there is none.
    #[must_use]
    pub fn median(&self) -> Option<f64> {
        let last = self.0.len().checked_sub(1)?;
        Some(f64::midpoint(self.0[last / 2], self.0[last.div_ceil(2)]))
    }
}

/// `median (least–most)`
impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(median), Some(first), Some(last)) =
            (self.median(), self.0.first(), self.0.last())
        else {
            return f.pad("–");
        };
        let text = match self.0.len() {
            1 => round(median),
            _ => format!("{} ({}–{})", round(median), round(*first), round(*last)),
        };
        f.pad(&text)
    }
}

/// Three significant digits.
fn round(figure: f64) -> String {
    match figure.abs() {
        100.0.. => format!("{figure:.0}"),
        10.0.. => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was done.
    pub work: String,
    /// What the figures count: `CPU-µs`.
    pub unit: &'static str,
    /// Ours.
    pub ours: Figures,
    /// The peer and its figures.
    pub peer: Option<(&'static str, Figures)>,
    /// What a reader should know of this run: rates, failures, who was the limit.
    pub remark: String,
}

impl Row {
    /// Ours by theirs.
    fn ratio(&self) -> String {
        let theirs = self.peer.as_ref().and_then(|(_, figures)| figures.median());
        match (self.ours.median(), theirs) {
            (Some(ours), Some(theirs)) if theirs > 0.0 => format!("{:.2}", ours / theirs),
            _ => String::new(),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, figures) = match &self.peer {
            Some((name, figures)) => (*name, figures.to_string()),
            None => ("", String::new()),
        };
        let (ours, ratio) = (self.ours.to_string(), self.ratio());
        write!(
            f,
            "{:<34} {:<9} {ours:<22} {name:<10} {figures:<22} {ratio:<6} {}",
            self.work, self.unit, self.remark
        )
    }
}

/// The line above the rows.
#[must_use]
pub fn head() -> String {
    format!(
        "{:<34} {:<9} {:<22} {:<10} {:<22} {:<6} {}",
        "work", "unit", "dialtone", "peer", "", "ratio", "remark"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_stands_between_least_and_most() {
        let mut figures = Figures::default();
        assert_eq!(figures.to_string(), "–");
        for figure in [16.25, 120.0, 9.5] {
            figures.push(figure);
        }
        assert_eq!(figures.median(), Some(16.25));
        assert_eq!(figures.to_string(), "16.2 (9.50–120)");
        figures.push(20.0);
        assert_eq!(figures.median(), Some(18.125));
    }
}
