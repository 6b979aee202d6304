//! Who may have how much of what is scarce: max-min fairness, as a pure function.

/// Wants as much as there is.
pub(super) const ALL: usize = usize::MAX;

/// While no more than this part of the places is taken, nobody's share is looked at.
pub(super) const CROWDED: (usize, usize) = (1, 2);

/// Whether so many of the places are taken that each may only have its share.
pub(super) const fn is_crowded(taken: usize, places: usize) -> bool {
    taken.saturating_mul(CROWDED.1) > places.saturating_mul(CROWDED.0)
}

/// The most that one may have of `places` when several want some: who wants less than an equal part has what it wants, and
/// what it leaves goes to the others in equal parts. Nobody's share is less than one place.
pub(super) fn share(places: usize, wants: &mut [usize]) -> usize {
    wants.sort_unstable();
    let mut left = places;
    for (at, &want) in wants.iter().enumerate() {
        let equal = left / (wants.len() - at);
        if want > equal {
            return equal.max(1);
        }
        left -= want;
    }
    ALL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_modest_leave_goes_to_the_others() {
        for (places, wants, expected) in [
            (100, &mut [ALL][..], 100),
            (100, &mut [ALL, ALL], 50),
            (100, &mut [10, ALL], 90),
            (100, &mut [ALL, 10, ALL], 45),
            (100, &mut [ALL, 40, 10], 50),
            (100, &mut [60, ALL], 50),
            (100, &mut [10, 20], ALL),
            (100, &mut [], ALL),
            (2, &mut [ALL, ALL, ALL], 1),
            (0, &mut [ALL], 1),
        ] {
            assert_eq!(share(places, wants), expected, "{places} among {wants:?}");
        }
    }

    /// Of many cases by a fixed rule: no more than the places is given away, and nothing that is wanted is left over.
    #[test]
    fn all_is_given_and_no_more() {
        let mut state = 1_u64;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for _ in 0..2_000 {
            let places = next(1_000) as usize + 20;
            let mut wants: Vec<usize> = (0..next(20)).map(|_| next(300) as usize).collect();
            let wanted: usize = wants.iter().sum();
            let share = share(places, &mut wants);
            let given: usize = wants.iter().map(|&want| want.min(share)).sum();
            assert!(given <= places, "{given} of {places}: {wants:?}");
            // less than one place for each remains, for it cannot be divided
            assert!(given == wanted || places - given < wants.len(), "{given} of {places}: {wants:?}");
        }
    }

    #[test]
    fn it_is_crowded_past_half() {
        assert!(!is_crowded(50, 100) && is_crowded(51, 100) && is_crowded(1, 1) && !is_crowded(0, 0));
    }
}
