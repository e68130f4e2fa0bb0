"""Coloured shapes with captions, questions and a judge: image data by formula, without any download."""

from vermeil_data.shapes.judge import judge
from vermeil_data.shapes.prompts import CATEGORIES, Prompt, Wanted, fulfils, shape_prompts
from vermeil_data.shapes.render import render
from vermeil_data.shapes.samples import question_samples, shape_samples
from vermeil_data.shapes.scene import COLOURS, KINDS, SIZES, Scene, Shape, random_scene
from vermeil_data.shapes.words import Question, captions, questions

__all__ = [
    "CATEGORIES",
    "COLOURS",
    "KINDS",
    "SIZES",
    "Prompt",
    "Question",
    "Scene",
    "Shape",
    "Wanted",
    "captions",
    "fulfils",
    "judge",
    "question_samples",
    "questions",
    "random_scene",
    "render",
    "shape_prompts",
    "shape_samples",
]
