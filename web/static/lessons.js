// What a person may want to know while playing with the explainer: a name, then paragraphs.

export const LESSONS = [
  [
    "What is a cosine?",
    "The model gives every photo and every text a direction in a space of some hundred " +
      "dimensions. The cosine says how near two directions are: 1 is the same, 0 has nothing in " +
      "common.",
    "For photo and text it never comes near 1. With many models 0.3 is a very good match and " +
      "0.2 none at all, so compare cosines with each other, not with 1.",
  ],
  [
    "What is softmax?",
    "It turns a list of cosines into shares that add up to 100%. Each share depends on all " +
      "labels in the list: take one out, and the others grow.",
    "So a share of 90% does not mean “90% sure”. It means “nine parts of ten among these " +
      "labels”, even where all of them are wrong.",
  ],
  [
    "What does the temperature do?",
    "Cosines are divided by it before the softmax. Cold makes small differences large, and the " +
      "best label takes all; hot makes all labels alike. The order never changes.",
    "The model learned a temperature of its own in training; the mark on the slider shows it.",
  ],
  [
    "Why a template?",
    "These models learned from sentences, not from single words. “A photo of a crane.” is " +
      "nearer to what they read than “crane”, and “a photo of a crane, a bird.” says which one is" +
      " meant.",
    "The average over several templates is steadier than any one of them. Try how far a clumsy " +
      "template moves the cosines.",
  ],
  [
    "Why “something else”?",
    "Without it, the shares are divided among your labels alone: a photo of a spoon must be a " +
      "dog or a cat. A background label gives the rest a place to go.",
    "It is a weak background all the same, because “something else” is a text like others. That" +
      " is why clipsearch also compares with neutral sentences.",
  ],
  [
    "What the model cannot do",
    "It counts badly, mixes up left and right, and hardly understands “not”: a photo is near to" +
      " “no dog” because of the dog. It may read writing in a photo and believe it.",
    "Scores are likeness, not truth. Look at the photo before you decide anything that matters.",
  ],
  [
    "What the model has learned from",
    "Such models are trained on pictures and captions from the web. Who is shown there, and in " +
      "which words, is uneven: some countries, skin colours, ages, jobs and bodies are many, " +
      "others few or only in clichés.",
    "The model repeats that. Labels about people’s origin, character, job or gender give back " +
      "prejudice with a number on it; do not sort people by them.",
  ],
];
