/* What the report claims, in its words (shortened), and how it is tested. docs/analyses/claims.md
 * has the rules in full. */
#include "cli/reproduce.h"

/* What the intervals of most claims are over. */
#define OVER_CLASSES_ALONE                                                                         \
    " The interval draws classes. No picture is used, so none can move the number."
#define OVER_CLASSES                                                                               \
    " The interval draws classes, each with the pictures it has, and no pictures: other pictures " \
    "can move the number by more."

const kh_claim_text kh_claim_texts[KH_CLAIMS] = {
    {"C1", "The top-1 key neuron of most classes sits in block 10 (the last but one of 12).",
     "§4.2, figure 3",
     "Share of classes whose best aligned value vector lies in the last but one block. "
     "Reproduced: more than in any other block, above chance (one in as many as there are "
     "blocks) and at least half.",
     "Alignment is read from the weights alone. It says what a value vector would write, not "
     "that its key ever fires." OVER_CLASSES_ALONE},
    {"C2", "Such neurons reside almost exclusively in later blocks.", "§6",
     "The same share for the last third of the blocks. Reproduced: above a third's chance and at "
     "least nine tenths.",
     "Late and useful are not the same: what earlier blocks prepare is not counted "
     "here." OVER_CLASSES_ALONE},
    {"C3", "Classes whose top neuron sits before block 10 are not captured reliably.", "§4.2",
     "Accuracy of classes with their best neuron before the last but one block, minus that of "
     "the others. Reproduced: lower by at least 0.10, interval below 0 and permutation p < 0.05. "
     "Needs three classes on each side.",
     "A correlation over classes. Rare or confusable classes may be weak for other "
     "reasons." OVER_CLASSES},
    {"C4", "Activations are significantly higher in later blocks.", "§4.2, figure 4",
     "Largest class-mean coefficient of a block, last third over the others. Reproduced: at "
     "least 1.5 times, and the mean over all neurons grows too.",
     "Coefficients of different blocks have no common unit: the residual stream grows as "
     "well." OVER_CLASSES},
    {"C5", "In its most activated block a class is captured by a small number of neurons.",
     "§4.2, figure 4",
     "Share of the ten strongest neurons in the class's mean activation. Reproduced: at least "
     "half; chance is what the ten largest of as many exponential numbers hold.",
     "A strong neuron may fire for every class. See C14 for what matters." OVER_CLASSES},
    {"C6", "Similar classes, like breeds of dogs, activate similar neurons in earlier blocks.",
     "§4.2",
     "Jaccard index of the ten strongest neurons: pairs of relatives minus pairs with others, "
     "earlier blocks. Reproduced: at least 0.05, about one more of ten shared.",
     "Shared backgrounds or colours of similar classes count as similarity. The interval draws "
     "relatives, neither pictures nor the classes they are compared with. A class's pictures "
     "count in the values of all others, so other pictures can move the number by more than the "
     "interval says: in keyhole's demo world they gave intervals that do not even meet "
     "(docs/claims-demo.md)."},
    {"C7",
     "By the maps of their top neurons dogs lie closest together; in block 10 tench is nearer to "
     "fireboat than to a dog.",
     "§4.2, figure 5",
     "How often a relative is nearer to a relative than to another class (D1, k = 1, last but "
     "one block). Reproduced: at least 0.9. The second part needs ImageNet's classes.",
     "Each class is measured with its own neuron, so the distance compares where and how "
     "strongly, not what. The interval draws relatives, neither pictures nor the classes they "
     "are compared with: other pictures can move it by more, since those of one class count in "
     "the values of all others."},
    {"C8",
     "With three neurons instead of one the relative distances of low blocks change; in block 10 "
     "fireboat becomes relatively more similar.",
     "§4.2, figure 6",
     "Rank correlation between the distances for one and for three neurons, earlier blocks. "
     "Reproduced: below 0.9. The second part needs ImageNet's classes.",
     "The sentence about finer details has no number and gets no verdict. There is no floor of "
     "noise: how well distances for one neuron agree between two halves of the pictures is not "
     "measured, so a part of the change may be noise. The interval draws classes, not pictures; "
     "other pictures can move it by more, since those of one class count in the values of all "
     "others."},
    {"C9",
     "In low blocks the top neuron shows no pattern; in later blocks it focuses on the object.",
     "§4.2, figures 1 and 2",
     "Overlap (IoU) of the strongest fifth of each block's best aligned neuron with the true "
     "mask. Reproduced: later blocks above a random fifth, earlier ones not.",
     "The mask keeps a fifth of every picture: it says where, never whether. A spot in the "
     "middle of the picture also overlaps. A mean over the later blocks may be made by one of "
     "them: see which." OVER_CLASSES},
    {"C10",
     "The rank-1 neuron highlights the object; lower ranks fire everywhere or hardly at all; a "
     "rank 10 neuron is very unlikely to beat the first.",
     "§4.1, figures 10 and 11",
     "How often rank 1 overlaps better than rank 2, and rank 10 better than rank 1. Reproduced: "
     "more than half, and at most a tenth.",
     "Better by IoU of percentile masks; a person looking at heatmaps may judge "
     "otherwise." OVER_CLASSES},
    {"C11", "The gap in alignment between rank 1 and rank 2 is not very large.", "figure 11",
     "Gap over the first one's distance from the class's mean score. Reproduced: at most a "
     "quarter.",
     "The difference in alignment need not be the difference in effect." OVER_CLASSES_ALONE},
    {"C12",
     "Most activation maps are not interpretable (§4.1), although the conclusion (§6) says that "
     "keys respond to the subject and little to the background.",
     "§4.1 against §6",
     "Share of rank-1 maps whose mean on the object is more than twice that beside it. The "
     "verdict is about §4.1: reproduced when fewer than half do.",
     "A ratio is not interpretability; it is the part of it that has a number." OVER_CLASSES},
    {"C13",
     "Small bright dots are scattered over the heatmaps; perhaps from normalisation, perhaps "
     "from the attention.",
     "figure 10, §5",
     "Share of rank-1 maps with a lone bright patch off the object. Reproduced: more than half. "
     "The hypotheses are tested beside it.",
     "A lone patch may be right: an eye, a wheel, a leaf." OVER_CLASSES},
    {"C14", "Very few value vectors have a large impact on the classification.", "abstract",
     "Share of the class margin that is lost without ten neurons of a block, of what is lost "
     "without all of them. Reproduced: at least half, and more than ten random ones.",
     "Replacing a coefficient by its mean is one kind of removal. Others give other numbers. The "
     "interval draws pictures as if all were independent, not classes; other classes, or "
     "pictures of another kind, can move it by more."},
    {"C15", "Top-1 accuracy on ImageNet's validation set is 83.37 %.", "§4.4",
     "Accuracy on the given images. A verdict needs the 50,000 validation images and the "
     "report's checkpoint.",
     "Accuracy depends on the preprocessing: squashed or cropped pictures differ by a point. The "
     "interval draws pictures as if all were independent; pictures of another kind can move it "
     "by more."},
    {"C16",
     "More than a tenth of ImageNet are dogs; many failures share their top value vector with "
     "other classes.",
     "§5",
     "Share of relatives among the classes; of the classes in the worst quarter, how many share "
     "their best aligned neuron. Reproduced: above a tenth, and at least half and more than the "
     "others.",
     "Sharing may be a cause, an effect or neither. With an ablation the shared neurons are "
     "removed. The interval draws classes. Pictures decide which of them are the worst quarter, "
     "and it does not know of others: they can move it by more."},
    {"C17", "A prediction composes several value vectors, not only the first.", "§4.1",
     "Share of classes that need two or more neurons for half of the contributions to their "
     "logit, in the block that adds most. Reproduced: more than half of the classes.",
     "Direct contributions to the logit only; effects through later blocks need an ablation. The "
     "interval draws classes, each by the mean of the pictures it has: other pictures can move "
     "it by more."},
};

const char *const kh_golden_texts[KH_GOLDENS] = {
    "Block 10: the five neurons that speak most for six classes (embeddings scaled by column)",
    "Best cosine of a block's value vectors with a class, mean over classes",
    "Best ln score of a class over all blocks, mean over classes",
    "Value vectors that are the first of several classes",
    "Best ln score over the class's mean logit, by block",
    "Key-value agreement and memory-prediction match, by block",
    "Accuracy and identifiable image tokens on ImageNet-S",
    "Accuracy against removed tokens (ViT-B/32)",
    "One photograph end to end: logits of class 162 at five tokens",
};
