//! How good a conversation sounds, reckoned from what the network does to it.
//!
//! # Source
//! ITU-T G.107 (06/2015): the E-model, with the default values of everything that is no matter of packets.

/// What a codec takes from the quality by itself, and how it bears losses.
///
/// # Source
/// ITU-T G.107 §7.5 (Ie, Bpl); G.113 Appendix I, tables I.1 and I.4, has figures for some codecs
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

/// The transmission rating, R: 0 to 93.2 here. Nobody is taken to forgive anything for the convenience (A is 0).
///
/// What delay takes is a fit of the model for a connection whose echo is cancelled well: to within 1 up to 320 ms
/// and 4 up to 400; beyond, it takes too much.
///
/// # Source
/// ITU-T G.107 §7.1 (the sum), §7.5 (losses, as if each came by itself: BurstR is 1); for §7.4 (delay), R. G. Cole
/// and J. H. Rosenbluth, "Voice over IP performance monitoring", ACM SIGCOMM Computer Communication Review 31(2), 2001
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

/// What listeners would say on average of a connection with this rating, from 1 to 4.5. Below a rating of 6.5, where
/// the standard's curve dips under 1, it is 1.
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
///
/// # Source
/// ITU-T G.107 §7.7: R with every default
const BEST: f32 = 93.2;
/// One way; what is beyond disturbs the talk.
///
/// # Source
/// Cole and Rosenbluth, as above
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

    /// What so long a way takes, with every default: talker echo (TELR 65 dB), listener echo (WEPL 110 dB) and the
    /// delay itself, less the little that listener echo takes of the best connection.
    fn taken(t: f32) -> f32 {
        let root = |half: f32, square: f32| half + (half * half + square).sqrt();
        let echo = 65.0 - 40.0 * ((1.0 + t / 10.0) / (1.0 + t / 150.0)).log10()
            + 6.0 * (-0.3 * t * t).exp();
        let talker = 80.0 + 2.5 * (echo - 14.0);
        let talker = (root((94.77 - talker) / 2.0, 100.0) - 1.0) * (1.0 - (-t).exp());
        let listener = |way: f32| {
            let echo = 10.5 * (110.0 + 7.0) * (2.0 * way + 1.0).powf(-0.25);
            root((94.77 - echo) / 2.0, 169.0)
        };
        let x = (t.max(100.0) / 100.0).log2();
        let bend = |x: f32| (1.0 + x.powi(6)).powf(1.0 / 6.0);
        let absolute = 25.0 * (bend(x) - 3.0 * bend(x / 3.0) + 2.0);
        talker + listener(t) - listener(0.0) + absolute
    }

    #[test]
    fn itu_g107_7_4_the_fit_is_near_what_delay_takes() {
        for delay in (0..=400u16).step_by(10).map(f32::from) {
            let conditions = Conditions {
                delay_ms: delay,
                loss: 0.0,
            };
            let fitted = BEST - rating(G711, conditions);
            let off = fitted - taken(delay);
            assert!(off.abs() < 4.0, "{delay} ms: {fitted}, off by {off}");
        }
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
