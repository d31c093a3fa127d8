//! How good a conversation sounds, reckoned from what the network does to it.
//!
//! # Source
//! ITU-T G.107: the E-model, with the default values of everything that is no matter of packets.

/// What a codec takes from the quality by itself, and how it bears losses.
///
/// # Source
/// ITU-T G.107 §7.5 (Ie, Bpl); G.113 Appendix I has figures for some codecs
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Equipment {
    /// The equipment impairment factor, Ie.
    pub impairment: f32,
    /// The packet-loss robustness factor, Bpl.
    pub robustness: f32,
}

/// What a listener gets of the network.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Conditions {
    /// From mouth to ear, in milliseconds.
    pub delay_ms: f32,
    /// The share of packets that are missing when they are to be played, 0 to 1.
    pub loss: f32,
}

/// The transmission rating, R: 0 to 93.2 here.
///
/// # Source
/// ITU-T G.107 §7.1 (the sum), §7.5 (losses, as if each came by itself); what delay takes is Cole
/// and Rosenbluth's fit of §7.4 for a connection without echo.
#[must_use]
pub fn rating(equipment: Equipment, conditions: Conditions) -> f32 {
    let delay = finite(conditions.delay_ms).max(0.0);
    let late = (delay - TOLERATED_MS).max(0.0);
    let delayed = 0.024 * delay + 0.11 * late;
    let percent = 100.0 * finite(conditions.loss).clamp(0.0, 1.0);
    let Equipment {
        impairment,
        robustness,
    } = equipment;
    let lost = (95.0 - impairment) * percent / (percent + robustness.max(0.1));
    (BEST - delayed - impairment - lost).clamp(0.0, BEST)
}

/// What listeners would say on average of a connection with this rating, from 1 to 4.5.
///
/// # Source
/// ITU-T G.107 Annex B
#[must_use]
pub fn mos(rating: f32) -> f32 {
    let r = finite(rating);
    if r <= 0.0 {
        return 1.0;
    }
    if r >= 100.0 {
        return 4.5;
    }
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).clamp(1.0, 4.5)
}

fn finite(number: f32) -> f32 {
    if number.is_finite() { number } else { 0.0 }
}

/// The rating of a connection of which nothing is wrong.
const BEST: f32 = 93.2;
/// One way; what is beyond disturbs the talk.
const TOLERATED_MS: f32 = 177.3;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const G711: Equipment = Equipment {
        impairment: 0.0,
        robustness: 25.1,
    };
    const G729: Equipment = Equipment {
        impairment: 11.0,
        robustness: 19.0,
    };

    fn mos_of(equipment: Equipment, delay_ms: f32, loss: f32) -> f32 {
        mos(rating(equipment, Conditions { delay_ms, loss }))
    }

    /// ITU-T G.107 Annex B: the ends and the middle of the scale; G.109 table 1: the classes.
    #[test]
    fn itu_g107_annex_b_ratings_become_opinions() {
        for (rating, opinion) in [
            (0.0, 1.0),
            (50.0, 2.58),
            (60.0, 3.1),
            (70.0, 3.6),
            (80.0, 4.03),
            (90.0, 4.34),
            (100.0, 4.5),
        ] {
            assert!(
                (mos(rating) - opinion).abs() < 0.01,
                "{rating}: {}",
                mos(rating)
            );
        }
        assert_eq!(mos(f32::NAN), 1.0);
    }

    #[test]
    fn the_usual_figures_come_out() {
        assert!((mos_of(G711, 0.0, 0.0) - 4.41).abs() < 0.01);
        assert!((mos_of(G729, 0.0, 0.0) - 4.10).abs() < 0.03);
        assert!((3.9..4.1).contains(&mos_of(G711, 100.0, 0.03)));
        assert!(mos_of(G711, 400.0, 0.0) < 3.6);
        assert!(mos_of(G711, 0.0, 1.0) < 1.6);
    }

    proptest! {
        #[test]
        fn more_delay_or_loss_is_never_better(
            delay in 0f32..2000.0, loss in 0f32..1.0, more in 0f32..500.0, worse in 0f32..0.5,
        ) {
            let before = mos_of(G729, delay, loss);
            prop_assert!((1.0..=4.5).contains(&before));
            prop_assert!(mos_of(G729, delay + more, loss) <= before);
            prop_assert!(mos_of(G729, delay, loss + worse) <= before);
        }

        #[test]
        fn no_number_is_too_odd(a in any::<f32>(), b in any::<f32>(), c in any::<f32>(), d in any::<f32>()) {
            let equipment = Equipment { impairment: a.clamp(0.0, 95.0), robustness: b };
            let opinion = mos(rating(equipment, Conditions { delay_ms: c, loss: d }));
            prop_assert!((1.0..=4.5).contains(&opinion));
        }
    }
}
